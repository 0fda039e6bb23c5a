"""A server that answers every connection and datagram with the address that it sees, and a client that asks."""

from lab import wait_for

SERVER = r"""
import socket, sys, threading
port = int(sys.argv[1])
tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.bind(("::", port))
def datagrams():
    while True:
        _, peer = udp.recvfrom(100)
        udp.sendto(peer[0].removeprefix("::ffff:").encode(), peer)
threading.Thread(target=datagrams, daemon=True).start()
print("ready", flush=True)
while True:
    connection, peer = tcp.accept()
    connection.sendall(peer[0].removeprefix("::ffff:").encode())
    connection.close()
"""

ASK = r"""
import socket, sys
address, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
try:
    if kind == "tcp":
        with socket.create_connection((address, port), 2) as connection: print(connection.recv(100).decode())
    else:
        peer = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        peer.settimeout(2)
        peer.connect((address, port))
        peer.send(b"?")
        print(peer.recv(100).decode())
except OSError as error:
    print(type(error).__name__)
"""


def _inside(netns):
    return ["nsenter", f"--net={netns}"] if netns else []


def serve(box, port=80, netns=None):
    """On every address of a host, or of a container of it. Returns the process, which listens."""
    server = box.start("server", *_inside(netns), "python3", "-u", "-c", SERVER, port)
    wait_for("the server listens", lambda: "ready" in server.log())
    return server


def ask(box, address, port=80, kind="tcp", netns=None):
    """As whom the server sees the one who asks; the name of the exception when there is no answer."""
    return box.out(*_inside(netns), "python3", "-c", ASK, address, port, kind).strip()


def mapping(host_port, container_port, protocol="tcp", host_ip=None):
    """An entry of portMappings."""
    out = {"hostPort": host_port, "containerPort": container_port, "protocol": protocol}
    return {**out, "hostIP": host_ip} if host_ip else out
