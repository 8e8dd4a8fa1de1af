"""Ways out that need no client: sockets, processes, files, threads, and the kernel asked directly."""

from __future__ import annotations

import contextvars
import ctypes
import os
import socket
import sqlite3
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.guard.egress.ways import Way, connects
from tests.guard.egress.world import World

LIBC: Any = ctypes.CDLL(None, use_errno=True)
# taken before any seal: L3 sees the taking, not the call
CONNECT, SYSCALL = LIBC.connect, LIBC.syscall
IO_URING_SETUP = 425


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=10).close()


def datagram(send: Callable[[socket.socket, Any], object]) -> Callable[[World], Way]:
    def prepare(world: World) -> Way:
        receiver = world.closing(socket.socket(type=socket.SOCK_DGRAM))
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.05)

        def attempt() -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                send(sender, receiver.getsockname())

        def arrived() -> bool:
            try:
                return receiver.recv(10) == b"x"
            except TimeoutError:
                return False

        return Way(attempt, arrived)

    return prepare


def makes(run: Callable[[str], object]) -> Callable[[World], Way]:
    def prepare(world: World) -> Way:
        path = world.folder / "made"
        return Way(lambda: run(str(path)), path.exists)

    return prepare


def fork(path: str) -> None:
    pid = os.fork()
    if pid == 0:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os._exit(0)
    os.waitpid(pid, 0)


def vanishes(run: Callable[[str], object]) -> Callable[[World], Way]:
    def prepare(world: World) -> Way:
        path = world.folder / "there"
        path.touch()
        return Way(lambda: run(str(path)), lambda: not path.exists())

    return prepare


def sqlite_file(world: World) -> Way:
    path = world.folder / "file.db"

    def attempt() -> None:
        connection = sqlite3.connect(path)
        try:
            connection.execute("CREATE TABLE probe (i int)")
        finally:
            connection.close()

    def arrived() -> bool:
        with sqlite3.connect(path) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None

    return Way(attempt, arrived)


def foreign(world: World) -> Way:
    raw = struct.pack("=H", socket.AF_INET) + struct.pack("!H", world.web.port) + bytes([127, 0, 0, 1]) + bytes(8)

    def attempt() -> None:
        with socket.socket() as one:
            if CONNECT(one.fileno(), raw, len(raw)) != 0:
                raise OSError(ctypes.get_errno(), "connect")

    return connects(world, attempt)


def ring(world: World) -> Way:
    del world
    made: list[int] = []
    outside = SYSCALL(ctypes.c_long(IO_URING_SETUP), ctypes.c_long(1), ctypes.create_string_buffer(120))
    if outside < 0:
        pytest.skip("this kernel has no io_uring, or forbids it")
    os.close(outside)

    def attempt() -> None:
        parameters = ctypes.create_string_buffer(120)
        descriptor = SYSCALL(ctypes.c_long(IO_URING_SETUP), ctypes.c_long(1), parameters)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        made.append(descriptor)
        os.close(descriptor)

    return Way(attempt, lambda: made)


def open_socket(send: Callable[[socket.socket], object]) -> Callable[[World], Way]:
    def prepare(world: World) -> Way:
        listener = world.closing(socket.create_server(("127.0.0.1", 0)))
        mine = world.closing(socket.create_connection(listener.getsockname()))
        theirs, _ = listener.accept()
        world.closing(theirs)
        theirs.settimeout(0.05)

        def arrived() -> bool:
            try:
                return theirs.recv(10) != b""
            except TimeoutError:
                return False

        return Way(lambda: send(mine), arrived)

    return prepare


def dup(mine: socket.socket) -> None:
    copy = os.dup(mine.fileno())
    try:
        os.write(copy, b"x")
    finally:
        os.close(copy)


def new_thread(world: World) -> Way:
    return connects(world, lambda: _joined(lambda: connect(world.web.port)))


def _joined(function: Callable[[], None]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - whatever it was, it is the caller's
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def worker_from_before(world: World) -> Way:
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()
    world.closers.append(pool.shutdown)
    return connects(world, lambda: pool.submit(connect, world.web.port).result())


def empty_context(world: World) -> Way:
    return connects(world, lambda: contextvars.Context().run(connect, world.web.port))
