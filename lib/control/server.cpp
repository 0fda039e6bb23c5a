#include <fcntl.h>
#include <grp.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "lib/control/control.hpp"
#include "lib/json/json.hpp"

namespace firn::control {
namespace {

constexpr size_t max_clients = 1024;
constexpr size_t part_size = 128 * 1024;
constexpr std::chrono::seconds client_deadline{5};  // without a whole request, or without taking its reply

std::string refusal(Code code, std::string_view text) {
  json::Writer w;
  w.begin_object().field("ok", false).field("error", text).field("code", to_string(code)).end_object();
  return std::move(w).take();
}

struct Client {
  unique_fd fd;
  Peer peer;
  std::deque<std::string> out;
  bool waiting = false;  // for a reply that comes later
  std::chrono::steady_clock::time_point deadline;
};

// An epoll descriptor holds listener, clients and the deadline's timer, so that the owner's loop watches one descriptor.
class SeqpacketServer final : public Server {
 public:
  SeqpacketServer(std::string path, std::optional<gid_t> group, Handler handler)
      : path_(std::move(path)), group_(group), handler_(std::move(handler)), request_(max_request + 1) {}
  ~SeqpacketServer() override {
    if (bound_) ::unlink(path_.c_str());
  }
  SeqpacketServer(const SeqpacketServer&) = delete;
  SeqpacketServer& operator=(const SeqpacketServer&) = delete;

  Status open();
  int fd() const override { return epoll_.get(); }
  void serve() override;
  void reply(uint64_t client, std::string reply) override;

 private:
  Status watch(int fd, uint32_t events, int operation = EPOLL_CTL_ADD) const {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0) return errno_error("watching a client of " + path_);
    return {};
  }
  Status refuse_second_daemon(const sockaddr_un& address);
  void accept_all();
  bool allowed(int fd, const Peer& peer) const;
  bool read_request(Client& client);  // false: drop it
  bool answer(Client& client, std::string reply);
  bool flush(Client& client);
  void drop_late();

  std::string path_;
  std::optional<gid_t> group_;
  Handler handler_;
  std::vector<char> request_;
  uint64_t next_client_ = 1;
  bool bound_ = false;
  bool ticking_ = false;
  unique_fd lock_, epoll_, listener_, timer_;
  std::map<int, Client> clients_;
};

Status SeqpacketServer::refuse_second_daemon(const sockaddr_un& address) {
  const auto taken = [&] {
    return make_error(Code::exists, "another daemon serves " + path_ + " already; stop it first, or choose another --run-dir");
  };
  // The lock closes the gap between looking and binding; the kernel drops it with the process, however that ends.
  const std::string lock_path = path_ + ".lock";
  lock_.reset(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_) return errno_error("opening " + lock_path);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return taken();
    return errno_error("locking " + lock_path);
  }
  struct stat there {};
  if (::lstat(path_.c_str(), &there) != 0) {
    if (errno == ENOENT) return {};
    return errno_error("looking at " + path_);
  }
  if (!S_ISSOCK(there.st_mode)) return make_error(Code::exists, path_ + " is there and is no socket; remove it");
  const unique_fd probe(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return errno_error("opening a socket");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno == EAGAIN) return taken();
  if (::unlink(path_.c_str()) != 0) return errno_error("removing the stale socket " + path_);
  return {};
}

Status SeqpacketServer::open() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.empty() || path_.size() >= sizeof(address.sun_path)) {
    return make_error(Code::invalid, "\"" + path_ + "\" cannot be the path of a socket (1 to 107 bytes)");
  }
  std::memcpy(address.sun_path, path_.data(), path_.size());
  if (auto free = refuse_second_daemon(address); !free) return free;

  listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_) return errno_error("opening a socket");
  // fchmod before bind sets the mode the file is made with: there is no moment with a wider one.
  if (::fchmod(listener_.get(), 0660) != 0) return errno_error("setting the mode of " + path_);
  if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return errno_error("binding " + path_);
  }
  bound_ = true;
  if (group_ && ::chown(path_.c_str(), static_cast<uid_t>(-1), *group_) != 0) return errno_error("giving " + path_ + " to its group");
  if (::chmod(path_.c_str(), 0660) != 0) return errno_error("setting the mode of " + path_);
  if (::listen(listener_.get(), static_cast<int>(max_clients)) != 0) return errno_error("listening on " + path_);
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return errno_error("epoll_create1");
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return errno_error("timerfd_create");
  if (auto done = watch(listener_.get(), EPOLLIN); !done) return done;
  return watch(timer_.get(), EPOLLIN);
}

bool SeqpacketServer::allowed(int fd, const Peer& peer) const {
  if (peer.uid == 0 || peer.uid == ::geteuid()) return true;
  if (!group_) return false;
  if (peer.gid == *group_) return true;
  std::vector<gid_t> groups(1024);
  socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) return false;
  groups.resize(size / sizeof(gid_t));
  for (const gid_t one : groups) {
    if (one == *group_) return true;
  }
  return false;
}

void SeqpacketServer::accept_all() {
  for (;;) {
    unique_fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) continue;
    const Peer peer{next_client_++, credentials.uid, credentials.gid, credentials.pid};
    std::string no;
    if (!allowed(fd.get(), peer)) no = refusal(Code::denied, "only root and the members of the daemon's group may ask it");
    else if (clients_.size() >= max_clients) no = refusal(Code::unavailable, "too many clients; try again");
    if (!no.empty()) {
      // Best effort: who does not get the reason gets a closed connection.
      if (::send(fd.get(), no.data(), no.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) continue;
      continue;
    }
    const int raw = fd.get();
    if (!watch(raw, EPOLLIN)) continue;
    clients_.insert_or_assign(raw, Client{std::move(fd), peer, {}, false, std::chrono::steady_clock::now() + client_deadline});
  }
}

bool SeqpacketServer::read_request(Client& client) {
  const ssize_t got = ::recv(client.fd.get(), request_.data(), request_.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  if (static_cast<size_t>(got) > max_request) return answer(client, refusal(Code::invalid, "the request is longer than 64 KiB"));
  auto reply = handler_(client.peer, std::string_view(request_.data(), static_cast<size_t>(got)));
  if (reply) return answer(client, *std::move(reply));
  client.waiting = true;
  return watch(client.fd.get(), EPOLLRDHUP, EPOLL_CTL_MOD).ok();
}

void SeqpacketServer::reply(uint64_t client, std::string reply) {
  const auto found = std::find_if(clients_.begin(), clients_.end(), [&](const auto& entry) { return entry.second.peer.client == client; });
  if (found == clients_.end() || !found->second.waiting) return;
  found->second.waiting = false;
  if (!answer(found->second, std::move(reply))) clients_.erase(found);
}

bool SeqpacketServer::answer(Client& client, std::string reply) {
  if (reply.size() > max_reply) reply = refusal(Code::exhausted, "the reply would be longer than 8 MiB; ask for less");
  if (reply.size() <= part_size) {
    client.out.push_back(std::move(reply));
  } else {
    json::Writer w;
    w.begin_object().field("parts", static_cast<uint64_t>((reply.size() + part_size - 1) / part_size));
    w.field("bytes", static_cast<uint64_t>(reply.size())).end_object();
    client.out.push_back(std::move(w).take());
    for (size_t at = 0; at < reply.size(); at += part_size) client.out.push_back(reply.substr(at, part_size));
  }
  client.deadline = std::chrono::steady_clock::now() + client_deadline;
  return flush(client);
}

bool SeqpacketServer::flush(Client& client) {
  while (!client.out.empty()) {
    const std::string& next = client.out.front();
    if (::send(client.fd.get(), next.data(), next.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return false;
      // No further request is read until this reply is gone.
      return watch(client.fd.get(), EPOLLOUT, EPOLL_CTL_MOD).ok();
    }
    client.out.pop_front();
  }
  return watch(client.fd.get(), EPOLLIN, EPOLL_CTL_MOD).ok();
}

void SeqpacketServer::drop_late() {
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(clients_, [&](const auto& entry) { return !entry.second.waiting && entry.second.deadline <= now; });
}

void SeqpacketServer::serve() {
  std::array<epoll_event, 32> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.fd == listener_.get()) {
      accept_all();
    } else if (event.data.fd == timer_.get()) {
      uint64_t ticks = 0;
      if (::read(timer_.get(), &ticks, sizeof(ticks)) > 0) drop_late();
    } else if (const auto client = clients_.find(event.data.fd); client != clients_.end()) {
      bool keep = false;
      if ((event.events & EPOLLIN) != 0) keep = read_request(client->second);
      else if ((event.events & EPOLLOUT) != 0) keep = flush(client->second);
      if (!keep) clients_.erase(client);
    }
  }
  // The timer runs only while there is somebody to drop: an idle daemon sleeps.
  if (ticking_ != clients_.empty()) return;
  ticking_ = !ticking_;
  const itimerspec tick{{ticking_ ? 1 : 0, 0}, {ticking_ ? 1 : 0, 0}};
  ::timerfd_settime(timer_.get(), 0, &tick, nullptr);
}

Result<std::optional<gid_t>> group_id(const std::string& name) {
  if (name.empty()) return std::optional<gid_t>{};
  std::vector<char> buffer(64 * 1024);
  group entry{};
  group* found = nullptr;
  const int failed = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (failed != 0) return errno_error("looking up group \"" + name + "\"", failed);
  if (found == nullptr) return make_error(Code::not_found, "there is no group \"" + name + "\" (groupadd --system " + name + ")");
  return std::optional<gid_t>{found->gr_gid};
}

}  // namespace

Result<std::unique_ptr<Server>> listen(const std::string& socket_path, const std::string& group, Handler handler) {
  const auto gid = group_id(group);
  if (!gid) return gid.error();
  auto server = std::make_unique<SeqpacketServer>(socket_path, *gid, std::move(handler));
  if (auto opened = server->open(); !opened) return std::move(opened).error();
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace firn::control
