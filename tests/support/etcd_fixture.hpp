// A real etcd cluster for tests: members on loopback, data in a directory of its own, gone with the object. Each member is ended
// by its process id. Thread safety: one thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "lib/http/client.hpp"

namespace firn::test {

// A program run to its end, no shell; its outputs are in files of the directory meanwhile. -1: it could not be started.
struct ProgramResult {
  int exit = -1;
  std::string out, err;
};
ProgramResult run_and_read(const std::vector<std::string>& arguments, const std::string& directory);
// A directory below the system's for temporary files; aborts when there is none.
std::string make_temporary_directory(const std::string& name);

// A certificate authority with certificates of a server on loopback and of clients, in a directory.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& directory);
  // PEM files of a certificate for 127.0.0.1 and localhost, which may also be shown by a client. No common name: etcd's gateway
  // would take it for a user.
  std::string certificate() const { return directory_ + "/leaf.pem"; }
  std::string key() const { return directory_ + "/leaf.key"; }
  std::string ca() const { return directory_ + "/ca.pem"; }

 private:
  std::string directory_;
};

class EtcdFixture {
 public:
  struct Setup {
    int members = 1;
    std::vector<std::string> arguments;        // besides what the fixture needs
    const TestAuthority* authority = nullptr;  // TLS, with client certificates required
  };
  // Returns when every member says that it is healthy; aborts the test program when that takes too long.
  EtcdFixture() : EtcdFixture(Setup{}) {}
  explicit EtcdFixture(Setup setup);
  EtcdFixture(const EtcdFixture&) = delete;
  EtcdFixture& operator=(const EtcdFixture&) = delete;
  ~EtcdFixture();

  http::Endpoint endpoint(int member = 0) const;
  std::vector<http::Endpoint> endpoints() const;
  const std::string& directory() const { return directory_; }
  std::string data(int member = 0) const { return directory_ + "/member-" + std::to_string(member); }
  pid_t pid(int member = 0) const { return members_[static_cast<size_t>(member)].pid; }

  void kill(int member = 0);   // as a crash; returns when it is gone
  void start(int member = 0);  // one that was killed; not waited for
  void wait_healthy(int member = 0) const;
  // etcdctl with the endpoints of the cluster; its output. Fails the test when it fails.
  std::string ctl(std::vector<std::string> arguments) const;
  // Replaces the data of a single killed member by a snapshot; `token` makes it another cluster or the same one.
  void restore(const std::string& snapshot, const std::string& token);

 private:
  struct Member {
    uint16_t client_port = 0, peer_port = 0;
    pid_t pid = -1;
  };
  std::string peer_url(const Member& member) const { return "http://127.0.0.1:" + std::to_string(member.peer_port); }
  std::string initial_cluster() const;

  Setup setup_;
  std::string directory_;
  std::vector<Member> members_;
};

}  // namespace firn::test
