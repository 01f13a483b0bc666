"""Connections between the processes of a run, and who may connect to a port: sockets alone.

A message is a kind, facts that JSON holds, and bytes. Nothing that is received is ever executed.
"""
import ctypes
import json
import os
import socket
import struct

HEAD = struct.Struct(">8sIQ")  # the mark, and how many bytes of JSON and of content follow
MARK = b"ex03/1\r\n"
MOST_FACTS = 1 << 20  # bytes
LOST = 20  # seconds after which a machine that does not answer is lost


class Connection:
    """A TCP connection that carries messages; `fileno` is what `select` asks for."""

    def __init__(self, stream):
        """Args: stream: a connected `socket.socket`."""
        self._stream = stream
        self.fileno, self.close = stream.fileno, stream.close
        self.wait_at_most = stream.settimeout
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel asks a silent machine whether it still lives, every quarter of LOST.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, LOST // 4), (socket.TCP_KEEPINTVL, LOST // 4),
                              (socket.TCP_KEEPCNT, 3), (socket.TCP_USER_TIMEOUT, 1000 * LOST)):
            stream.setsockopt(socket.IPPROTO_TCP, option, value)

    def send(self, kind, content=b"", **facts):
        """Send a message; `content` is bytes. Raises: OSError."""
        text = json.dumps([kind, facts]).encode()
        self._stream.sendall(HEAD.pack(MARK, len(text), len(content)) + text)
        self._stream.sendall(content)

    def receive(self):
        """Return (kind, facts, content) of the next message.

        Raises:
            OSError: the connection is closed or lost, takes too long, or carries anything else.
        """
        mark, facts, content = HEAD.unpack(self._read(HEAD.size))
        if mark != MARK or facts > MOST_FACTS:
            raise OSError("it is another program")
        try:
            kind, facts = json.loads(self._read(facts).decode())
        except (ValueError, TypeError):
            raise OSError("it is another program")
        return kind, facts, self._read(content)

    def _read(self, size):
        received = bytearray()
        while len(received) < size:
            part = self._stream.recv(min(size - len(received), 1 << 20))
            if not part:
                raise OSError("the connection was closed")
            received += part
        return bytes(received)


def bound(host, port):
    """Return a socket bound to this address alone. Raises: OSError."""
    stream = socket.socket(socket.AF_INET)
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stream.bind((host, port))
    except OSError:
        stream.close()
        raise
    return stream


def free_addresses(count):
    """Return 127.0.0.1:PORT of so many ports that nothing uses now, a list."""
    streams = [bound("127.0.0.1", 0) for _ in range(count)]  # all at once, so that they differ
    found = ["127.0.0.1:%d" % stream.getsockname()[1] for stream in streams]
    for stream in streams:
        stream.close()
    return found


def restrict(port, host):
    """Let this process's server on a port be reached by one of the machine's addresses only.

    For a server that listens on all of them and cannot be told otherwise, as TensorFlow's. The
    kernel drops what comes to the port for another address (a socket filter, `man 7 socket`), and
    what was connected before is cut off.

    Raises:
        OSError: the kernel has no such filters, or nothing listens on the port.
    """
    address = socket.gethostbyname(host)
    number, = struct.unpack("!I", socket.inet_aton(address))
    # The address of arrival stands 16 bytes into the IPv4 header. An IPv6 one has the middle of
    # the sender's address there, hence the look at the version before.
    network_header = 0x100000000 - 0x100000
    program = b"".join(struct.pack("HBBI", *line) for line in (
        (0x30, 0, 0, network_header),           # load a byte: version and header length
        (0x54, 0, 0, 0xf0),                     # keep the version
        (0x15, 0, 3, 0x40),                     # not IPv4: drop
        (0x20, 0, 0, network_header + 16),      # load the address
        (0x15, 0, 1, number),                   # another one: drop
        (0x06, 0, 0, 0xffffffff),               # let all of it pass
        (0x06, 0, 0, 0)))
    memory = ctypes.create_string_buffer(program, len(program))
    attached = struct.pack("HP", len(program) // 8, ctypes.addressof(memory))
    listening = 0
    for stream in _own_sockets(port):
        with stream:
            if stream.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                stream.setsockopt(socket.SOL_SOCKET, 26, attached)  # SO_ATTACH_FILTER
                listening += 1
            elif stream.getsockname()[0].split(":")[-1] != address:
                stream.shutdown(socket.SHUT_RDWR)
    if not listening:
        raise OSError("nothing listens on port %d" % port)


def _own_sockets(port):
    """Yield duplicates of this process's TCP sockets on a local port, those that listen first."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink("/proc/self/fd/" + name).startswith("socket:"):
                stream = socket.socket(fileno=os.dup(int(name)))
                inet = stream.family in (socket.AF_INET, socket.AF_INET6)
                if inet and stream.type == socket.SOCK_STREAM and stream.getsockname()[1] == port:
                    found.append(stream)
                else:
                    stream.close()
        except OSError:  # closed in the meantime
            continue
    return sorted(found, key=lambda stream: -stream.getsockopt(socket.SOL_SOCKET,
                                                               socket.SO_ACCEPTCONN))
