"""TCP ports: free ones, whether a server answers, a filter for one that listens everywhere."""
import contextlib
import ctypes
import os
import socket
import stat
import struct

from support.console import reason


def split(address):
    """HOST:PORT -> (host, port)."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def bound(host, port):
    """Return a socket that is bound to this address alone. Raises: OSError."""
    stream = socket.socket()
    if os.name == "posix":  # elsewhere it would share a port that is in use
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stream.bind((host, port))
    return stream


def free_addresses(count):
    """Return 127.0.0.1:PORT of so many ports that nothing uses now, a list."""
    with contextlib.ExitStack() as stack:  # all at once, so that they differ
        streams = [stack.enter_context(bound("127.0.0.1", 0)) for _ in range(count)]
        return ["127.0.0.1:%d" % stream.getsockname()[1] for stream in streams]


def silence(address, seconds):
    """Return why no server speaks to who connects to HOST:PORT, or "" if one does, as gRPC's."""
    try:
        with socket.create_connection(split(address), seconds) as stream:
            return "" if stream.recv(1) else "the connection was closed"
    except socket.timeout:
        return "it has been silent for %g s" % seconds
    except OSError as error:
        return reason(error)


def restrict(port, host):
    """Let this process's server on a port be reached by one of the machine's IPv4 addresses only.

    The kernel drops what comes to the port for another one (a socket filter, `man 7 socket`).

    Returns:
        whether the system has such filters, as Linux.
    Raises:
        OSError: the filter is refused, or nothing listens on the port.
    """
    if not os.path.isdir("/proc/self/fd"):
        return False
    address, = struct.unpack("!I", socket.inet_aton(host))
    # The address of arrival stands 16 bytes into the IPv4 header. An IPv6 one has the middle of
    # the sender's address there, hence the look at the version before.
    network_header = 0x100000000 - 0x100000
    program = b"".join(struct.pack("HBBI", *line) for line in (
        (0x30, 0, 0, network_header),           # load a byte: version and header length
        (0x54, 0, 0, 0xf0),                     # keep the version
        (0x15, 0, 3, 0x40),                     # not IPv4: drop
        (0x20, 0, 0, network_header + 16),      # load the address
        (0x15, 0, 1, address),                  # another one: drop
        (0x06, 0, 0, 0xffffffff),               # let all of it pass
        (0x06, 0, 0, 0)))
    memory = ctypes.create_string_buffer(program, len(program))
    attached, found = struct.pack("HP", len(program) // 8, ctypes.addressof(memory)), 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed in the meantime
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as stream:
                    if (stream.family in (socket.AF_INET, socket.AF_INET6)
                            and stream.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                            and stream.getsockname()[1] == port):
                        stream.setsockopt(socket.SOL_SOCKET, 26, attached)  # SO_ATTACH_FILTER
                        found += 1
    if not found:
        raise OSError("the kernel refuses a filter on port %d" % port)
    return True
