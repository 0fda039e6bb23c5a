#include "routed/nft/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <utility>

namespace firn::routed::nft {
namespace {

using std::chrono::milliseconds;

constexpr int descriptor_of_child = 3;
constexpr milliseconds greeting_deadline{5000};
constexpr milliseconds request_deadline{60'000};  // 100,000 elements take a third of a second
constexpr milliseconds first_pause{100}, longest_pause{30'000};
constexpr size_t longest_message = 32 * 1024, longest_listing = 64 * 1024 * 1024;

// posix_spawn's two argument blocks, freed on every path.
struct SpawnSetup {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnSetup() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
};

// Standard error stays ours: what the child has to say before it speaks the protocol ends in the journal.
Result<pid_t> spawn(const std::string& binary, int socket) {
  SpawnSetup setup;
  posix_spawn_file_actions_addopen(&setup.actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&setup.actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&setup.actions, socket, descriptor_of_child);
  posix_spawn_file_actions_addclosefrom_np(&setup.actions, descriptor_of_child + 1);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&setup.attributes, &none);
  posix_spawnattr_setsigdefault(&setup.attributes, &all);
  posix_spawnattr_setflags(&setup.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string name = binary;
  char* arguments[] = {name.data(), nullptr};
  char* environment[] = {nullptr};
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, binary.c_str(), &setup.actions, &setup.attributes, arguments, environment);
  if (failed == 0) return pid;
  auto error = errno_error("starting " + binary, failed);
  error.message += "; install it, or set nft.binary; with \"policy\": false firn-routed does without";
  return error;
}

Result<unique_fd> file_of(std::string_view text) {
  unique_fd file(::memfd_create("nft", MFD_CLOEXEC));
  if (!file) return errno_error("making room for a transaction of nftables");
  for (std::string_view left = text; !left.empty();) {
    const ssize_t put = ::write(file.get(), left.data(), left.size());
    if (put < 0) return errno_error("keeping a transaction of nftables");
    left.remove_prefix(static_cast<size_t>(put));
  }
  return file;
}

Result<std::string> read_listing(int fd) {
  struct stat about {};
  if (::fstat(fd, &about) != 0) return errno_error("reading a listing of nftables");
  if (about.st_size > static_cast<off_t>(longest_listing))
    return make_error(Code::exhausted, "a listing of nftables is longer than 64 MiB");
  std::string out(static_cast<size_t>(about.st_size), '\0');
  for (size_t at = 0; at < out.size();) {
    const ssize_t got = ::pread(fd, out.data() + at, out.size() - at, static_cast<off_t>(at));
    if (got <= 0) return errno_error("reading a listing of nftables");
    at += static_cast<size_t>(got);
  }
  return out;
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return "was ended by signal " + std::to_string(WTERMSIG(status));
  return "ended with code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

std::string default_binary() {
  std::error_code failed;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path();
  const auto beside = self / "firn-nft";
  if (!failed && std::filesystem::exists(beside, failed)) return beside;
  return self.parent_path() / "libexec/firn/firn-nft";
}

Child::Child(loop::Loop& loop, const Clock& clock, std::string binary, Listener listener)
    : loop_(loop), clock_(clock), binary_(std::move(binary)), listener_(std::move(listener)) {}

Child::~Child() {
  watch_.cancel();
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {}
}

void Child::run(Request kind, std::string text, Done done) {
  queue_.push_back({kind, std::move(text), std::move(done)});
  if (!busy_ && !soon_) soon_ = loop_.after(milliseconds(0), [this] { next(); });
}

Status Child::start() {
  if (clock_.steady() < not_before_) {
    return make_error(Code::unavailable, "firn-nft (" + binary_ + ") has just ended; it is started again after " +
                                             std::to_string(pause_.count()) + " ms");
  }
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return errno_error("opening a socket pair");
  unique_fd ours(ends[0]), theirs(ends[1]);
  // A dup2 onto itself would leave the descriptor to be closed by exec.
  if (theirs.get() == descriptor_of_child) theirs.reset(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, descriptor_of_child + 1));
  auto pid = spawn(binary_, theirs.get());
  if (!pid) return std::move(pid).error();
  pid_ = *pid;
  ++starts_;
  greeted_ = false;
  socket_ = std::move(ours);
  auto watch = loop_.readable(socket_.get(), [this] { read(); });
  if (!watch) {
    end(watch.error());
    return {};
  }
  watch_ = std::move(*watch);
  deadline_ = loop_.after(greeting_deadline, [this] { end(make_error(Code::unavailable, "firn-nft says nothing")); });
  return {};
}

void Child::next() {
  soon_.cancel();
  if (busy_ || queue_.empty()) return;
  if (pid_ == 0) {
    if (auto started = start(); !started) {
      busy_ = true;
      return finish(std::move(started).error());
    }
  }
  if (pid_ == 0 || !greeted_) return;  // read() goes on
  busy_ = true;
  if (auto sent = send(queue_.front()); !sent) return end(sent.error());
  deadline_ = loop_.after(request_deadline, [this] {
    end(make_error(Code::unavailable, "no answer within " + std::to_string(request_deadline.count() / 1000) + " s"));
  });
}

Status Child::send(const Asked& asked) {
  auto file = file_of(asked.text);
  if (!file) return std::move(file).error();
  char kind = static_cast<char>(asked.kind);
  const int fd = file->get();
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{&kind, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* attached = CMSG_FIRSTHDR(&message);
  attached->cmsg_level = SOL_SOCKET;
  attached->cmsg_type = SCM_RIGHTS;
  attached->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(attached), &fd, sizeof fd);
  if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) return errno_error("sending it a request");
  return {};
}

void Child::read() {
  if (auto read = read_reply(); !read) end(read.error());
}

// An error: the child is gone, or cannot be relied on.
Status Child::read_reply() {
  std::array<char, longest_message> buffer{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (got < 0) return errno_error("reading its answer");
  if (got == 0) return make_error(Code::unavailable, "");
  unique_fd file;
  if (const cmsghdr* attached = CMSG_FIRSTHDR(&message); attached != nullptr && attached->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(attached), sizeof fd);
    file.reset(fd);
  }
  constexpr size_t head = 1 + sizeof(port_);
  if (static_cast<size_t>(got) < head) return make_error(Code::unavailable, "its answer is too short");
  std::memcpy(&port_, buffer.data() + 1, sizeof port_);
  deadline_.cancel();
  if (!std::exchange(greeted_, true)) {
    if (listener_.started) listener_.started();
    next();
    return {};
  }
  if (!busy_) return make_error(Code::unavailable, "it answers what nobody asked");
  pause_ = milliseconds(0);
  if (buffer[0] == '+') finish(file ? read_listing(file.get()) : Result<std::string>(std::string()));
  else finish(make_error(Code::invalid, std::string(buffer.data() + head, static_cast<size_t>(got) - head)));
  return {};
}

void Child::end(const Error& why) {
  watch_.cancel();
  deadline_.cancel();
  socket_.reset();
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
  Error error = make_error(Code::unavailable, "firn-nft (process " + std::to_string(pid_) + ") " +
                                                  (why.message.empty() ? how_it_ended(status) : "was ended: " + why.message));
  pid_ = 0;
  port_ = 0;
  pause_ = pause_.count() == 0 ? first_pause : std::min(2 * pause_, longest_pause);
  not_before_ = clock_.steady() + pause_;
  const bool had_request = busy_ || !queue_.empty();
  if (listener_.ended) listener_.ended(error);
  if (!had_request) return;
  busy_ = true;
  finish(std::move(error));
}

void Child::finish(Result<std::string> outcome) {
  busy_ = false;
  const Done done = std::move(queue_.front().done);
  queue_.pop_front();
  if (!queue_.empty() && !soon_) soon_ = loop_.after(milliseconds(0), [this] { next(); });
  done(std::move(outcome));
}

}  // namespace firn::routed::nft
