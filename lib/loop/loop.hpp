// Loop: one thread that waits for descriptors, timers and signals and calls back. Boost.Asio is used in loop.cpp alone
// (and in lib/http, through context()).
// Owns: an epoll descriptor. Nothing survives the process. Callbacks run one after the other on the thread of run(), so what
// they share needs no lock. A callback must not block for long: everything else waits for it.
// Thread safety: all calls belong to the thread of run(), except post() and stop(), which any thread may call.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "lib/base/result.hpp"

namespace boost::asio {
class io_context;
}

namespace firn::loop {

using Callback = std::function<void()>;

// A registration with the loop; destroying it ends it, also from inside its own callback. It must not outlive the Loop.
class Handle {
 public:
  struct Registration {
    virtual ~Registration() = default;
    virtual void cancel() = 0;
  };

  Handle() = default;
  explicit Handle(std::shared_ptr<Registration> registration) : registration_(std::move(registration)) {}
  Handle(Handle&&) noexcept = default;
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      cancel();
      registration_ = std::move(other.registration_);
    }
    return *this;
  }
  ~Handle() { cancel(); }

  explicit operator bool() const { return registration_ != nullptr; }
  void cancel() {
    if (registration_ != nullptr) std::exchange(registration_, nullptr)->cancel();
  }

 private:
  std::shared_ptr<Registration> registration_;
};

class Loop {
 public:
  Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  // Calls `fn` whenever `fd` is readable, again and again until it was read. The descriptor stays the caller's, who must
  // destroy the Handle before closing it.
  [[nodiscard]] Result<Handle> readable(int fd, Callback fn);
  [[nodiscard]] Handle after(std::chrono::milliseconds delay, Callback fn);
  [[nodiscard]] Handle every(std::chrono::milliseconds period, Callback fn);
  [[nodiscard]] Result<Handle> on_signal(int number, Callback fn);
  void post(Callback fn);

  // Returns after stop().
  void run();
  void stop();

  boost::asio::io_context& context();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::loop
