"""A TCP proxy with toxics for requests to a store: slow, cut after the request was taken, hanging, down."""

from __future__ import annotations

import socket
import threading
import time
from typing import Literal

Toxic = Literal["none", "down", "slow", "cut", "hang"]


class Proxy:
    """Passes connections to `target` (host, port); `address` is where it listens.

    A toxic is looked at when the first bytes of an answer come back: `cut` closes instead of passing them on (the
    request was taken and done), `hang` keeps the connection and passes nothing. `slow` passes them `delay` seconds
    later. `down` refuses to talk at all. `hits` counts answers that a toxic changed.
    """

    def __init__(self, target: tuple[str, int], delay: float = 0.3) -> None:
        self._target, self._delay = target, delay
        self.toxic: Toxic = "none"
        self.only = b""  # the toxic acts on requests whose bytes contain this
        self.hits = 0
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closed = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.toxic == "down":
            client.close()
            return
        server = socket.create_connection(self._target)
        asked = bytearray()

        def forward() -> None:
            while data := _read(client):
                asked.extend(data[:4096])
                if not _write(server, data):
                    break
            server.close()

        threading.Thread(target=forward, daemon=True).start()
        while data := _read(server):
            toxic = self.toxic if self.only in bytes(asked) else "none"
            asked.clear()
            if toxic in ("cut", "down"):
                self.hits += 1
                break
            if toxic == "hang":
                self.hits += 1
                while self.toxic == "hang" and not self._closed:
                    time.sleep(0.05)
                break
            if toxic == "slow":
                self.hits += 1
                time.sleep(self._delay)
            if not _write(client, data):
                break
        client.close()
        server.close()


def _read(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


def _write(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True
