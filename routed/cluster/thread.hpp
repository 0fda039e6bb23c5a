// ClusterThread: everything that waits for the cluster store happens here, so that the loop of firn-routed never does: etcd may be
// slow, cut off or gone. Opens the store, follows it, keeps this node's beat alive (beat.hpp), and runs the jobs that the loop
// posts. What the loop is to do with it (an update, the outcome of a job) is handed to `deliver` as a function, in order. One
// update at a time: the next is read when the last was taken, so a loop that is busy holds back the thread and not the memory.
// Owns: the store, an eventfd and the thread, which ends with the object; with a store that hangs that takes its deadline (2 s).
// A kill -9 leaves what the last transaction left. Thread safety: all calls from one thread.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/kv/store.hpp"
#include "routed/cluster/beat.hpp"
#include "routed/cluster/follower.hpp"

namespace firn::routed {

class ClusterThread {
 public:
  using Function = std::function<void()>;
  // Runs on the thread. What it returns is delivered. The store is nullptr when it cannot be had now.
  using Job = std::function<Function(kv::Store*)>;
  struct Listener {  // delivered
    std::function<void(const ClusterUpdate&)> update;
    std::function<void()> state;  // present(), trouble() or refused() is another
    // The node had a beat, which was begun at that time.
    std::function<void(const ipam::GraceTerms&, const ipam::Moment& began)> beat = {};
  };

  // `life`: how long after its last beat a host counts as alive.
  static Result<std::unique_ptr<ClusterThread>> start(std::string state_dir, std::chrono::seconds life,
                                                      std::function<void(Function)> deliver, Listener listener);
  ClusterThread(const ClusterThread&) = delete;
  ClusterThread& operator=(const ClusterThread&) = delete;
  ~ClusterThread();

  // Who this host is; nothing is read before its name is known.
  void set_self(const model::Identity& self);
  // The state directory has other files: a store that was not there may be.
  void look();
  // Opens the store anew and hands on everything whole.
  void reopen();
  void post(Job job);

  // As the last listener.state() found it.
  bool present() const { return seen_.present; }
  const std::string& trouble() const { return seen_.trouble; }  // "": none, or the host has no cluster store
  // The last beat said that this host is its node.
  bool is_alive() const { return seen_.alive; }
  // Why this host is not the node that it was (Beat::refused); "" while it is, or nothing is known.
  const std::string& refused() const { return seen_.refused; }

 private:
  struct State {
    bool present = false, alive = false;
    std::string trouble, refused;
    bool operator==(const State&) const = default;
  };
  struct Orders {  // of the loop to the thread
    bool ending = false, look = false, reopen = false, taken = false;
    model::Identity self;
    std::deque<Job> jobs;
  };

  ClusterThread(std::string state_dir, std::chrono::seconds life, std::function<void(Function)> deliver, Listener listener,
                unique_fd wake);
  void order(const std::function<void(Orders&)>& change);
  void run();
  void obey(Orders orders);
  void open();
  void close(const Error& why);
  void follow();
  void beat();
  void say(State now);
  void rest();

  const std::string state_dir_;
  const std::chrono::seconds life_;
  const std::function<void(Function)> deliver_;
  const Listener listener_;
  unique_fd wake_;
  State seen_;  // the loop's

  std::mutex mutex_;
  Orders orders_;  // under the mutex

  // The thread's alone.
  std::unique_ptr<Follower> follower_;
  model::Identity self_;
  Beat beat_{{}, std::chrono::seconds(0)};
  State said_;
  bool outstanding_ = false;  // an update that was not taken yet
  bool asked_ = false;        // follow without waiting for the descriptor
  std::chrono::steady_clock::time_point retry_at_{};
  bool absent_ = false;  // there is no store to open: only another file makes one

  std::thread thread_;
};

}  // namespace firn::routed
