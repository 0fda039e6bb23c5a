#include "lib/cluster/seen.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <array>
#include <charconv>
#include <cinttypes>
#include <cstdio>

#include "lib/base/file.hpp"
#include "lib/base/unique_fd.hpp"

namespace firn::cluster {
namespace {

// "cdf818194e3a8c32 0000000000000000042\n"
std::string line_of(const kv::Position& position) {
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "%016" PRIx64 " %019" PRId64 "\n", position.cluster_id, position.revision);
  return std::string(text.data(), static_cast<size_t>(size));
}

Result<kv::Position> parse(const std::string& path, std::string_view text) {
  kv::Position position;
  const char* const begin = text.data();
  if (text.size() == 37 && text[16] == ' ' && text[36] == '\n') {
    const auto id = std::from_chars(begin, begin + 16, position.cluster_id, 16);
    const auto revision = std::from_chars(begin + 17, begin + 36, position.revision);
    if (id.ec == std::errc{} && id.ptr == begin + 16 && revision.ec == std::errc{} && revision.ptr == begin + 36) return position;
  }
  return make_error(Code::io, path + " is damaged; see with 'firnctl cluster status' that the cluster is in order, then run 'firnctl "
                                     "cluster accept'");
}

}  // namespace

std::string seen_path(const std::string& state_dir) { return state_dir + "/cluster.seen"; }

Result<std::optional<kv::Position>> read_seen(const std::string& state_dir) {
  const std::string path = seen_path(state_dir);
  auto text = read_file(path, 256);
  if (!text && text.error().is(Code::not_found)) return std::optional<kv::Position>();
  if (!text) return std::move(text).error();
  auto position = parse(path, *text);
  if (!position) return std::move(position).error();
  return std::optional<kv::Position>(*position);
}

Status write_seen(const std::string& state_dir, const kv::Position& position) {
  return write_file_atomic(seen_path(state_dir), line_of(position), 0600);
}

SeenKeeper::~SeenKeeper() {
  if (pending_) raise();
}

void SeenKeeper::remember(const kv::Position& position) {
  position_ = position;
  pending_ = true;
  if (std::chrono::steady_clock::now() - written_at_ < std::chrono::seconds(1)) return;
  raise();
}

// A failure here is none of the caller's: the position is kept in memory, and the next second tries again.
void SeenKeeper::raise() {
  written_at_ = std::chrono::steady_clock::now();
  const unique_fd fd(::open(seen_path(state_dir_).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || ::flock(fd.get(), LOCK_EX) != 0) return;
  std::array<char, 64> old{};
  const ssize_t n = ::pread(fd.get(), old.data(), old.size(), 0);
  if (n > 0) {
    const auto before = parse({}, std::string_view(old.data(), static_cast<size_t>(n)));
    // Another program has seen more; or it was accepted meanwhile that the cluster is another one.
    if (!before || before->cluster_id != position_.cluster_id || before->revision >= position_.revision) {
      pending_ = false;
      return;
    }
  }
  const std::string line = line_of(position_);
  pending_ = ::pwrite(fd.get(), line.data(), line.size(), 0) != static_cast<ssize_t>(line.size());
}

}  // namespace firn::cluster
