// A host of a cluster, in this process: a state directory with a machine id of its own, the whole Daemon of firn-routed on a thread
// of its own beside a kernel in memory, and leases as the CNI plugin makes them, who asks that Daemon when its blocks are full.
// firnctl is the real one.
#pragma once

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "cni-plugin/commands/daemon_blocks.hpp"
#include "ipam/allocator.hpp"
#include "ipam/node_store.hpp"
#include "lib/base/file.hpp"
#include "routed/daemon.hpp"
#include "tests/support/etcd_fixture.hpp"
#include "tests/support/fake_kernel.hpp"

namespace firn::test {

class SilentMonitor final : public netlink::Monitor {
 public:
  SilentMonitor() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  int fd() const override { return fd_.get(); }
  Result<netlink::Events> read() override { return netlink::Events{}; }

 private:
  unique_fd fd_;
};

class ClusterHost {
 public:
  ClusterHost(std::string directory, std::string name, char machine) : directory_(std::move(directory)), name_(std::move(name)) {
    std::filesystem::create_directories(state());
    EXPECT_TRUE(write_file_atomic(state() + "/machine-id", std::string(32, machine) + "\n", 0600).ok());
  }
  ~ClusterHost() { stop(); }

  const std::string& name() const { return name_; }
  std::string state() const { return directory_ + "/" + name_; }
  std::string socket() const { return directory_ + "/run-" + name_ + "/routed.sock"; }
  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }

  ProgramResult ctl(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), FIRNCTL);
    arguments.insert(arguments.end(), {"--state-dir", state(), "--socket", socket()});
    return run_and_read(arguments, directory_);
  }

  void start() {
    config_.state_dir = state();
    config_.run_dir = directory_ + "/run-" + name_;
    config_.metrics = "";
    config_.policy = false;  // several of them share one network namespace here
    config_.resync = std::chrono::seconds(1);
    config_.node_life = std::chrono::seconds(2);
    kernel_ = std::make_unique<FakeKernel>();
    loop_ = std::make_unique<loop::Loop>();
    thread_ = std::thread([this] {
      SilentMonitor monitor;
      routed::Log log(
          [this](routed::Level, std::string_view text) {
            const std::lock_guard lock(mutex_);
            log_.append(text).append("\n");
          },
          clock_);
      routed::Daemon daemon(*loop_, log, clock_, config_, *kernel_, monitor);
      const auto started = daemon.start();
      EXPECT_TRUE(started.ok()) << started.error().message;
      if (started) loop_->run();
    });
  }
  void stop() {
    if (!thread_.joinable()) return;
    loop_->post([this] { loop_->stop(); });
    thread_.join();
    loop_.reset();
  }

  // As the plugin on a host of many: from the blocks that are here.
  Result<Address> lease(const std::string& container, const std::string& pool = "web",
                        std::chrono::milliseconds patience = std::chrono::milliseconds(4000)) {
    auto store = ipam::open_node_store({state() + "/node.db", {}, true, std::chrono::milliseconds(5000)});
    if (!store) return std::move(store).error();
    ipam::Options options;
    options.boot_id = ipam::current_boot_id().value();
    options.cooldown = std::chrono::seconds(0);
    options.more_blocks = cni::daemon_blocks(**store, socket(), patience);
    ipam::Allocator allocator(**store, clock_, std::move(options));
    model::Endpoint endpoint;
    endpoint.network = "app";
    endpoint.container_id = container;
    endpoint.ifname = "eth0";
    ipam::AddressRequest request;
    request.pools = {pool};
    auto leased = allocator.lease(endpoint, model::Use::routed, {request});
    if (!leased) return std::move(leased).error();
    return leased->addresses.front();
  }
  bool release(const std::string& container) {
    auto store = ipam::open_node_store({state() + "/node.db", {}, true, std::chrono::milliseconds(5000)});
    if (!store) return false;
    ipam::Options options;
    options.boot_id = ipam::current_boot_id().value();
    return ipam::Allocator(**store, clock_, std::move(options)).release("app/" + container + "/eth0").ok();
  }
  std::vector<std::string> blocks() {
    std::vector<std::string> out;
    auto store = ipam::open_node_store({state() + "/node.db", {}, false, std::chrono::milliseconds(5000)});
    if (!store) return out;
    auto listing = (*store)->range("block/");
    for (const kv::Entry& entry : listing ? listing->entries : std::vector<kv::Entry>()) {
      out.push_back(model::decode_block(entry.value).value().prefix.to_string());
    }
    return out;
  }

 private:
  std::string directory_, name_;
  SystemClock clock_;
  routed::Config config_;
  std::unique_ptr<FakeKernel> kernel_;
  std::unique_ptr<loop::Loop> loop_;
  std::thread thread_;
  std::mutex mutex_;
  std::string log_;
};

}  // namespace firn::test
