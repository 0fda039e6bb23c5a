// A TCP proxy on loopback that can lose an answer or hold a request back: what a network does and no server can be told to do.
// Thread safety: the setters may be called from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/unique_fd.hpp"

namespace firn::test {

class TcpProxy {
 public:
  explicit TcpProxy(uint16_t target_port);
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;
  ~TcpProxy();

  uint16_t port() const { return port_; }
  // The next request that contains `text` reaches the server; its answer is thrown away and the connection cut.
  void lose_answer_to(const std::string& text);
  // The next request that contains `text` waits until release(), whatever the client does meanwhile.
  void hold(const std::string& text);
  // Lets it go, and returns when the server has answered it.
  void release();
  int lost() const { return lost_; }

 private:
  enum class Trick { none, lose, hold };
  void accept_all();
  void serve(unique_fd client);
  Trick trick_for(const std::string& data);

  uint16_t target_port_;
  uint16_t port_ = 0;
  unique_fd listener_;
  unique_fd stop_;  // readable when everything must end
  std::mutex mutex_;
  std::condition_variable changed_;
  Trick armed_ = Trick::none;
  std::string text_;
  bool held_ = false, released_ = false, answered_ = false, stopping_ = false;
  std::atomic<int> lost_{0};
  std::vector<std::thread> sessions_;
  std::thread acceptor_;
};

}  // namespace firn::test
