#include "cli/etcd_options.hpp"

#include <algorithm>
#include <filesystem>

#include "cli/parse.hpp"

namespace firn::cli {

void add_etcd_options(Command& verb, EtcdArgs& args) {
  verb.option("--etcd", "URL[,URL]", "Client URLs of an etcd 3.4 or later, for a cluster of several hosts", Command::text(args.endpoints))
      .option("--etcd-ca", "FILE", "Authority of its certificates, PEM (default: the system's)", Command::text(args.ca_file))
      .option("--etcd-cert", "FILE", "Certificate of this client, PEM", Command::text(args.certificate_file))
      .option("--etcd-key", "FILE", "Key of that certificate, PEM", Command::text(args.key_file))
      .option("--etcd-user", "USER", "User of etcd", Command::text(args.user))
      .option("--etcd-password-file", "FILE", "File with that user's password", Command::text(args.password_file))
      .option("--etcd-prefix", "PREFIX", "Where firn's keys are (default: /firn/v1/)", Command::text(args.prefix));
}

Result<std::optional<cluster::Config>> config_of(const EtcdArgs& args) {
  if (args.endpoints.empty()) {
    for (const std::string* other :
         {&args.ca_file, &args.certificate_file, &args.key_file, &args.user, &args.password_file, &args.prefix}) {
      if (!other->empty()) return make_error(Code::invalid, "--etcd: is required with the other options of etcd");
    }
    return std::optional<cluster::Config>();
  }
  const auto absolute = [](const std::string& path) { return path.empty() ? path : std::filesystem::absolute(path).string(); };
  cluster::Config config;
  config.endpoints = split(args.endpoints, ',');
  if (!args.prefix.empty()) config.prefix = args.prefix;
  config.ca_file = absolute(args.ca_file);
  config.certificate_file = absolute(args.certificate_file);
  config.key_file = absolute(args.key_file);
  config.user = args.user;
  config.password_file = absolute(args.password_file);
  if (auto good = cluster::check(config); !good) return std::move(good).error().context("--etcd");
  return std::optional<cluster::Config>(std::move(config));
}

bool same_cluster(const cluster::Config& a, const cluster::Config& b) {
  return a.prefix == b.prefix && std::any_of(a.endpoints.begin(), a.endpoints.end(), [&](const std::string& url) {
           return std::find(b.endpoints.begin(), b.endpoints.end(), url) != b.endpoints.end();
         });
}

Status check_not_migrating(kv::Store& cluster) {
  auto mark = cluster.get(migration_key);
  if (!mark) return std::move(mark).error();
  if (!*mark) return {};
  return make_error(Code::conflict, "a host is being moved into this cluster, or that was interrupted; run 'firnctl cluster migrate' there "
                                    "again (the host with machine id " + (*mark)->value.substr(0, 64) + ")");
}

}  // namespace firn::cli
