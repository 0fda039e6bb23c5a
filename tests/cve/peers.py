"""The reference plugins of Debian in a lab host, for the same questions that firn is asked. What they do is printed, never judged."""

import cni

BRIDGE = {"type": "bridge", "bridge": "ref0", "isGateway": True, "ipMasq": True,
          "ipam": {"type": "host-local", "dataDir": "/var/lib/host-local", "subnet": "10.99.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}


def network(host, *behind):
    return cni.Network(host, "reference", [BRIDGE, *behind])


def say(row, text):
    print(f"\nreference plugins, row {row}: {text}", flush=True)


def tried(call):
    """What came of it: "" or the words of the refusal."""
    try:
        call()
    except cni.CniError as refused:
        return str(refused)
    return ""
