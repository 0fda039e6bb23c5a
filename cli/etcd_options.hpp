// The options that name an etcd cluster: of init, join and cluster migrate.
#pragma once

#include <optional>
#include <string>

#include "cli/command.hpp"
#include "lib/cluster/cluster.hpp"
#include "lib/kv/store.hpp"

namespace firn::cli {

struct EtcdArgs {
  std::string endpoints, ca_file, certificate_file, key_file, user, password_file, prefix;
};
void add_etcd_options(Command& verb, EtcdArgs& args);

// Nothing without --etcd; Code::invalid names the option. Paths are made absolute: other programs use them from elsewhere.
Result<std::optional<cluster::Config>> config_of(const EtcdArgs& args);
// Whether they mean the same records: the prefix, and an endpoint in common.
bool same_cluster(const cluster::Config& a, const cluster::Config& b);

// In the cluster store while another host's records are being moved into it; value: the machine id of that host.
inline constexpr std::string_view migration_key = "migration";
// Code::conflict while that is so.
Status check_not_migrating(kv::Store& cluster);

}  // namespace firn::cli
