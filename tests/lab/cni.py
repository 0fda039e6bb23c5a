"""What a container runtime does with CNI plugins: one call, and a list of plugins with prevResult passed on."""

import json

REFERENCE = "/usr/lib/cni"


class CniError(AssertionError):
    def __init__(self, plugin, command, reply):
        super().__init__(f"{plugin} {command}: {reply}")
        self.reply = reply


def call(host, command, config, container, netns, ifname="eth0", plugin_dirs=None, args=""):
    """Runs one plugin; returns its result (None when it printed nothing)."""
    dirs = [str(host.lab.bin), REFERENCE] if plugin_dirs is None else plugin_dirs
    program = next((f"{d}/{config['type']}" for d in dirs if host.ok("test", "-x", f"{d}/{config['type']}")), config["type"])
    env = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns, "CNI_IFNAME": ifname, "CNI_PATH": ":".join(dirs)}
    if args:
        env["CNI_ARGS"] = args
    done = host.run(program, stdin=json.dumps(config), env=env, check=False)
    if done.returncode != 0:
        raise CniError(config["type"], command, done.stdout + done.stderr)
    return json.loads(done.stdout) if done.stdout.strip() else None


class Network:
    """A plugin list, as in a .conflist file."""

    def __init__(self, host, name, plugins, version="1.0.0"):
        self.host, self.name, self.plugins, self.version = host, name, plugins, version
        self.results = {}

    def _config(self, plugin, previous, runtime):
        config = {**plugin, "cniVersion": self.version, "name": self.name}
        wanted = {key: runtime[key] for key in plugin.get("capabilities", {}) if key in runtime}
        config.pop("capabilities", None)
        if wanted:
            config["runtimeConfig"] = wanted
        if previous is not None:
            config["prevResult"] = previous
        return config

    def add(self, container, netns, ifname="eth0", args="", **runtime):
        result = None
        for plugin in self.plugins:
            result = call(self.host, "ADD", self._config(plugin, result, runtime), container, netns, ifname, args=args)
        self.results[(container, ifname)] = (result, runtime)
        return result

    def check(self, container, netns, ifname="eth0", without=()):
        result, runtime = self.results[(container, ifname)]
        for plugin in (p for p in self.plugins if p["type"] not in without):
            call(self.host, "CHECK", self._config(plugin, result, runtime), container, netns, ifname)

    def delete(self, container, netns, ifname="eth0"):
        result, runtime = self.results.pop((container, ifname), (None, {}))
        for plugin in reversed(self.plugins):
            call(self.host, "DEL", self._config(plugin, result, runtime), container, netns, ifname)


def addresses(result):
    return [entry["address"].partition("/")[0] for entry in result["ips"]]
