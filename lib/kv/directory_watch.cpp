#include "lib/kv/directory_watch.hpp"

#include <sys/inotify.h>

namespace firn::kv {

Result<int> DirectoryWatch::fd(const std::string& file) {
  if (queue_) return queue_.get();
  const size_t slash = file.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : file.substr(0, slash);
  unique_fd queue(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!queue) return errno_error("watch the store " + file);
  // The directory, not the files: engines make, rename and delete theirs.
  if (::inotify_add_watch(queue.get(), directory.c_str(),
                          IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR) < 0) {
    return errno_error("watch the directory of the store " + file);
  }
  queue_ = std::move(queue);
  return queue_.get();
}

void DirectoryWatch::drain() {
  alignas(struct inotify_event) char buffer[4096];
  while (queue_ && ::read(queue_.get(), buffer, sizeof buffer) > 0) {}
}

}  // namespace firn::kv
