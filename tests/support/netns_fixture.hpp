// Network namespaces for tests: made here, used here, gone with the object, whatever the test's outcome.
// Named ones are /run/netns/firn-t-PID-N, visible to `ip netns`; those of test programs that were killed are removed by the
// next one that makes a named namespace. Thread safety: distinct objects, distinct threads.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "lib/netlink/kernel.hpp"

namespace firn::test {

class NetnsFixture {
 public:
  enum class Kind { anonymous, named };
  // Aborts the test program when a namespace cannot be made: without root nothing here can be shown. `lo` is up.
  explicit NetnsFixture(Kind kind = Kind::anonymous);
  NetnsFixture(const NetnsFixture&) = delete;
  NetnsFixture& operator=(const NetnsFixture&) = delete;
  ~NetnsFixture();

  const netlink::Netns& netns() const { return netns_; }
  int fd() const { return netns_.fd.get(); }
  const std::string& name() const { return name_; }  // named: "firn-t-..."
  // Named: /run/netns/NAME. Anonymous: a path through this process's descriptor, good for children as well.
  const std::string& path() const { return path_; }

  // Runs f in a thread inside the namespace and returns what it returns. gtest assertions work inside.
  template <class F>
  auto run(F&& f) const -> std::invoke_result_t<F> {
    using R = std::invoke_result_t<F>;
    if constexpr (std::is_void_v<R>) {
      std::thread([&] { enter(), f(); }).join();
    } else {
      std::optional<R> out;
      std::thread([&] { enter(), out.emplace(f()); }).join();
      return std::move(*out);
    }
  }
  // A Kernel bound to this namespace; usable from the calling thread afterwards.
  std::unique_ptr<netlink::Kernel> kernel() const;
  // Content of a file as seen inside (/proc/sys/net/...), without its newline; "" when it cannot be read.
  std::string read(const std::string& file) const;

 private:
  void enter() const;
  netlink::Netns netns_;
  std::string name_;
  std::string path_;
};

// Runs a program directly (no shell) inside the namespace, its output to the test's; returns its exit status, -1 when a signal.
int run_program(const NetnsFixture* netns, const std::vector<std::string>& arguments);

}  // namespace firn::test
