#include "lib/loop/loop.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <string>

namespace firn::loop {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// Each registration keeps itself alive through the handler it has armed; `active` is what cancel() ends, because a handler
// that is queued already is called all the same.
class Readable final : public Handle::Registration, public std::enable_shared_from_this<Readable> {
 public:
  Readable(asio::io_context& context, Callback fn) : descriptor_(context), fn_(std::move(fn)) {}
  ~Readable() override { give_back(); }

  Status start(int fd) {
    error_code failed;
    descriptor_.assign(fd, failed);
    if (failed) return errno_error("watching descriptor " + std::to_string(fd), failed.value());
    arm();
    return {};
  }
  void cancel() override {
    active_ = false;
    give_back();
  }

 private:
  void arm() {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, [self = shared_from_this()](error_code failed) {
      if (failed || !self->active_) return;
      self->fn_();
      if (self->active_) self->arm();
    });
  }
  // The descriptor belongs to the caller: asio must forget it, not close it.
  void give_back() {
    if (descriptor_.is_open()) descriptor_.release();
  }

  asio::posix::stream_descriptor descriptor_;
  Callback fn_;
  bool active_ = true;
};

class Timer final : public Handle::Registration, public std::enable_shared_from_this<Timer> {
 public:
  Timer(asio::io_context& context, std::chrono::milliseconds delay, bool repeat, Callback fn)
      : timer_(context), delay_(delay), repeat_(repeat), fn_(std::move(fn)) {}

  void arm() {
    timer_.expires_after(delay_);
    timer_.async_wait([self = shared_from_this()](error_code failed) {
      if (failed || !self->active_) return;
      if (!self->repeat_) self->active_ = false;
      self->fn_();
      if (self->active_) self->arm();
    });
  }
  void cancel() override {
    active_ = false;
    timer_.cancel();
  }

 private:
  asio::steady_timer timer_;
  std::chrono::milliseconds delay_;
  bool repeat_;
  bool active_ = true;
  Callback fn_;
};

class Signal final : public Handle::Registration, public std::enable_shared_from_this<Signal> {
 public:
  Signal(asio::io_context& context, Callback fn) : signals_(context), fn_(std::move(fn)) {}

  Status start(int number) {
    error_code failed;
    signals_.add(number, failed);
    if (failed) return errno_error("catching signal " + std::to_string(number), failed.value());
    arm();
    return {};
  }
  void cancel() override {
    active_ = false;
    error_code ignored;
    signals_.cancel(ignored);
  }

 private:
  void arm() {
    signals_.async_wait([self = shared_from_this()](error_code failed, int) {
      if (failed || !self->active_) return;
      self->fn_();
      if (self->active_) self->arm();
    });
  }

  asio::signal_set signals_;
  Callback fn_;
  bool active_ = true;
};

}  // namespace

struct Loop::Impl {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
};

Loop::Loop() : impl_(std::make_unique<Impl>()) {}
Loop::~Loop() = default;

Result<Handle> Loop::readable(int fd, Callback fn) {
  auto watch = std::make_shared<Readable>(impl_->context, std::move(fn));
  if (auto started = watch->start(fd); !started) return std::move(started).error();
  return Handle(std::move(watch));
}

Handle Loop::after(std::chrono::milliseconds delay, Callback fn) {
  auto timer = std::make_shared<Timer>(impl_->context, delay, false, std::move(fn));
  timer->arm();
  return Handle(std::move(timer));
}

Handle Loop::every(std::chrono::milliseconds period, Callback fn) {
  auto timer = std::make_shared<Timer>(impl_->context, period, true, std::move(fn));
  timer->arm();
  return Handle(std::move(timer));
}

Result<Handle> Loop::on_signal(int number, Callback fn) {
  auto signal = std::make_shared<Signal>(impl_->context, std::move(fn));
  if (auto started = signal->start(number); !started) return std::move(started).error();
  return Handle(std::move(signal));
}

void Loop::post(Callback fn) { asio::post(impl_->context, std::move(fn)); }
void Loop::run() { impl_->context.run(); }
void Loop::stop() { impl_->context.stop(); }
asio::io_context& Loop::context() { return impl_->context; }

}  // namespace firn::loop
