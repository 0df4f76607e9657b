import pytest
from hypothesis import given
from hypothesis import strategies as st

from finwatch.local.front.errors import StoreError
from finwatch.local.front.sql import parse, quoted, quoted_name, with_query_ids


@pytest.mark.parametrize(
    ("sql", "head", "form", "data"),
    [
        (b"INSERT INTO t FORMAT Native\nDATA", b"INSERT INTO t ", "Native", b"DATA"),
        (b"insert into t (a, b) format CSV 1,2\n", b"insert into t (a, b) ", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV\r\n\n1", b"INSERT INTO t ", "CSV", b"\n1"),
        (b"INSERT INTO `a FORMAT b` FORMAT CSV\n1", b"INSERT INTO `a FORMAT b` ", "CSV", b"1"),
        (b"/* FORMAT X */ INSERT INTO t SETTINGS x = 'FORMAT Y' FORMAT CSV\n", None, "CSV", b""),
        (b"INSERT INTO t -- FORMAT X\nFORMAT CSV\n1;2", b"INSERT INTO t -- FORMAT X\n", "CSV", b"1;2"),
        (
            b"INSERT INTO t FORMAT TabSeparated\n\xff\x00FROM INFILE 'x'",
            None,
            "TabSeparated",
            b"\xff\x00FROM INFILE 'x'",
        ),
    ],
)
def test_insert_is_split_from_its_data(sql: bytes, head: bytes | None, form: str, data: bytes) -> None:
    statement = parse(sql)
    assert statement.kind == b"INSERT" and not statement.reads
    assert statement.input_format == form
    assert bytes(statement.data or b"") == data
    if head is not None:
        assert statement.sql == head


@pytest.mark.parametrize(
    ("sql", "form"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1 FORMAT JSON;", "JSON"),
        (b"SELECT 'FORMAT JSON'", ""),
        (b"SELECT format('{}', 1)", ""),
        (b"SELECT (SELECT 1 FORMAT) FORMAT CSV -- FORMAT XML", "CSV"),
        (b"SELECT 1 /* FORMAT XML */", ""),
    ],
)
def test_output_format(sql: bytes, form: str) -> None:
    statement = parse(sql)
    assert (statement.output_format, statement.data, statement.sql) == (form, None, sql)


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        (b"SELECT 1", True),
        (b"  -- why\n(SELECT 1) UNION ALL SELECT 2", True),
        (b"WITH 1 AS x SELECT x", True),
        (b"WITH y AS (SELECT 1) INSERT INTO t SELECT * FROM y", False),
        (b"SHOW TABLES", True),
        (b"EXPLAIN SELECT 1", True),
        (b"INSERT INTO t SELECT 1", False),
        (b"DROP TABLE t", False),
        (b"SYSTEM FLUSH LOGS", False),
    ],
)
def test_what_only_reads(sql: bytes, reads: bool) -> None:
    assert parse(sql).reads is reads


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (b"", 62),
        (b" -- nothing\n", 62),
        (b"SELECT 1; SELECT 2", 62),
        (b"SELECT 1 INTO OUTFILE '/tmp/x'", 497),
        (b"SELECT 1 into/**/outfile '/tmp/x' FORMAT CSV", 497),
        (b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT LineAsString", 497),
        (b"SELECT file('/etc/passwd')", 497),
        (b"SELECT FILE /* */ ('/etc/passwd')", 497),
        (b"SELECT `file`('/etc/passwd')", 497),
        (b"SELECT \"file\"('/etc/passwd')", 497),
        (b"SELECT `\\x66ile`('/etc/passwd')", 497),
        (b"INSERT INTO t VALUES (1, file('/etc/passwd'))", 497),
        (b"INSERT INTO t FORMAT Values (file('/etc/passwd'))", 497),
        (b"SELECT * FROM Python(x)", 497),
        (b"CREATE TABLE t (k String) ENGINE = EmbeddedRocksDB(0, '/tmp/x') PRIMARY KEY k", 497),
    ],
)
def test_refused(sql: bytes, code: int) -> None:
    with pytest.raises(StoreError) as caught:
        parse(sql)
    assert caught.value.code == code


def test_words_inside_text_are_not_keywords() -> None:
    assert parse(b"SELECT 'INTO OUTFILE', \"FROM INFILE\" FROM `a;b`").reads
    assert parse(b"SELECT 1; -- and done\n").reads
    assert parse(b"SELECT file, 'file(' FROM t WHERE python > (1)").reads
    assert parse(b"INSERT INTO t VALUES (1, 'file(2)'), (3, 'a;b')").kind == b"INSERT"


def test_kill_query_looks_for_the_clients_id() -> None:
    assert with_query_ids(b"KILL QUERY WHERE query_id = 'query_id' OR `query_id`='b' SYNC") == (
        b"KILL QUERY WHERE Settings['log_comment'] = 'query_id' OR Settings['log_comment']='b' SYNC"
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_scanned_or_refused(sql: bytes) -> None:
    try:
        statement = parse(sql)
    except StoreError as error:
        assert error.code in (62, 497)
    else:
        assert statement.kind


@given(st.text(max_size=50))
def test_quoting_survives_the_scanner(value: str) -> None:
    sql = f"SELECT {quoted(value)}, {quoted_name(value)}".encode("utf-8", "surrogatepass")
    assert parse(sql).reads
