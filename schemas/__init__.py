"""What crosses Kafka: the Avro schemas, their registry, the codec and the checks on them.

Owns: `avro/*.avsc` (the contract) and `history/`, schema ids, the Confluent wire format, encoding and decoding,
compatibility, the generated data dictionary. Does not own: which topic a record goes to (finwatch.runtime.topics),
what a record means for a document (finwatch.domain), any Kafka client.
"""
