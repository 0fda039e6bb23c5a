// What only etcd does: members that die, TLS, users, compaction, a cluster that is not the one it was, lost answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "lib/kv/etcd/base64.hpp"
#include "lib/kv/etcd/etcd_store.hpp"
#include "tests/support/etcd_fixture.hpp"
#include "tests/support/tcp_proxy.hpp"

namespace firn::kv {
namespace {

using Strings = std::vector<std::string>;
using testing::HasSubstr;
using namespace std::chrono_literals;

std::unique_ptr<Store> open_or_fail(const EtcdOptions& options) {
  auto store = open_etcd(options);
  if (store) return std::move(*store);
  ADD_FAILURE() << store.error().message;
  return nullptr;
}

Result<Revision> put(Store& store, std::string_view key, std::string_view value) {
  return store.transact([&](Transaction& transaction) {
    transaction.put(key, value);
    return Status();
  });
}

Revision must_put(Store& store, std::string_view key, std::string_view value) {
  auto revision = put(store, key, value);
  EXPECT_TRUE(revision.ok()) << revision.error().message;
  return revision ? *revision : 0;
}

std::string value_of(Store& store, std::string_view key) {
  auto entry = store.get(key);
  if (!entry) return "error: " + entry.error().message;
  return *entry ? (*entry)->value : "(none)";
}

Status count_up(Transaction& transaction) {
  auto number = transaction.get("count");
  if (!number) return std::move(number).error();
  transaction.put("count", std::to_string((*number ? std::stoi(**number) : 0) + 1));
  return {};
}

bool readable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  return ::poll(&waiting, 1, 30000) == 1;
}

// Waits on the descriptor of the watch until the key is among the changes; the revision to go on from.
Revision wait_for_change(Store& store, int fd, Revision after, const std::string& key) {
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (std::chrono::steady_clock::now() < until && readable(fd)) {
    auto changes = store.changes(after, "");
    if (!changes) continue;  // no member now: the descriptor tells when to come again
    if (changes->compacted) return -2;
    after = changes->revision;
    if (std::find(changes->keys.begin(), changes->keys.end(), key) != changes->keys.end()) return after;
  }
  return -1;
}

class EtcdStoreTest : public testing::Test {
 protected:
  EtcdOptions options_of(const test::EtcdFixture& etcd) const {
    EtcdOptions options;
    options.endpoints = etcd.endpoints();
    options.deadline = 20s;  // a loaded machine is slow; no test waits for it but those that set it
    return options;
  }
};

TEST(Base64, RoundTripsAndRefuses) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
    bytes += static_cast<char>(i * 7);
  }
  EXPECT_EQ(to_base64("f"), "Zg==");
  EXPECT_EQ(to_base64("foobar"), "Zm9vYmFy");
  for (const char* bad : {"Zg=", "Zg", "Zh==", "=g==", "Z===", "Zm9v=mFy", "Zm9\n"}) EXPECT_EQ(from_base64(bad), std::nullopt) << bad;
}

TEST_F(EtcdStoreTest, RefusesBadOptions) {
  EtcdOptions options;
  EXPECT_EQ(open_etcd(options).error().code, Code::invalid);
  options.endpoints = {{http::Endpoint::Transport::tcp, "127.0.0.1", 1}};
  options.deadline = 50ms;
  for (const char* prefix : {"", "/", "firn/", "/firn", "/a b/", "/a\n/"}) {
    options.prefix = prefix;
    EXPECT_EQ(open_etcd(options).error().code, Code::invalid) << prefix;
  }
  options.prefix = "/x/";
  options.user = "a";
  EXPECT_EQ(open_etcd(options).error().code, Code::invalid);
  options.user.clear();
  auto nobody = open_etcd(options);
  ASSERT_FALSE(nobody.ok());
  EXPECT_EQ(nobody.error().code, Code::unavailable);
  EXPECT_THAT(nobody.error().message, HasSubstr("http://127.0.0.1:1"));
}

TEST_F(EtcdStoreTest, AMemberThatDiesIsReplacedByAnother) {
  test::EtcdFixture::Setup setup;
  setup.members = 3;
  test::EtcdFixture etcd(setup);
  auto options = options_of(etcd);
  auto store = open_or_fail(options);
  ASSERT_NE(store, nullptr);
  const Revision start = must_put(*store, "a", "1");
  auto fd = store->watch_fd();
  ASSERT_TRUE(fd.ok());
  ASSERT_TRUE(store->changes(start, "").ok());

  // The first endpoint is the one that is asked.
  etcd.kill(0);
  const Revision second = must_put(*store, "b", "1");
  EXPECT_GT(second, start);
  EXPECT_EQ(value_of(*store, "a"), "1");
  const Revision heard = wait_for_change(*store, *fd, start, "b");
  EXPECT_GE(heard, second);
  auto other = open_or_fail(options);
  ASSERT_NE(other, nullptr);
  must_put(*other, "c", "1");
  EXPECT_GT(wait_for_change(*store, *fd, heard, "c"), heard);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(store->transact(count_up).ok());
  EXPECT_EQ(value_of(*other, "count"), "10");

  // Without a majority nothing is written, and nobody waits beyond the deadline.
  etcd.kill(1);
  options.deadline = 500ms;
  auto lonely = open_etcd(options);
  ASSERT_FALSE(lonely.ok());
  EXPECT_EQ(lonely.error().code, Code::unavailable);
}

TEST_F(EtcdStoreTest, AWatchGoesOnAfterARestart) {
  test::EtcdFixture etcd;
  auto store = open_or_fail(options_of(etcd));
  auto fd = store->watch_fd();
  ASSERT_TRUE(fd.ok());
  const Revision start = must_put(*store, "a", "1");
  ASSERT_EQ(wait_for_change(*store, *fd, start - 1, "a"), start);
  etcd.kill();
  etcd.start();
  etcd.wait_healthy();
  auto other = open_or_fail(options_of(etcd));
  const Revision written = must_put(*other, "b", "1");
  EXPECT_EQ(wait_for_change(*store, *fd, start, "b"), written);
  EXPECT_EQ(*store->watch_fd(), *fd);
}

TEST_F(EtcdStoreTest, TlsTrustsItsAuthorityAlone) {
  const std::string directory = test::make_temporary_directory("firn-t-tls");
  {
    const test::TestAuthority ours(directory + "/ours"), theirs(directory + "/theirs");
    test::EtcdFixture::Setup setup;
    setup.authority = &ours;
    test::EtcdFixture etcd(setup);
    auto options = options_of(etcd);
    options.tls = {ours.ca(), ours.certificate(), ours.key(), ""};
    auto store = open_or_fail(options);
    ASSERT_NE(store, nullptr);
    must_put(*store, "a", std::string(300000, 'x'));
    EXPECT_EQ(value_of(*store, "a").size(), 300000u);
    auto fd = store->watch_fd();
    ASSERT_TRUE(fd.ok());
    const Revision written = must_put(*store, "b", "1");
    EXPECT_EQ(wait_for_change(*store, *fd, written - 1, "b"), written);

    const struct {
      http::Tls tls;
      Code code;
      const char* says;
    } cases[] = {
        {{theirs.ca(), ours.certificate(), ours.key(), ""}, Code::denied, "not to be trusted"},
        {{ours.ca(), ours.certificate(), ours.key(), "etcd.example"}, Code::denied, "etcd.example"},
        {{ours.ca(), "", "", ""}, Code::denied, "certificate"},
        {{ours.ca(), theirs.certificate(), theirs.key(), ""}, Code::denied, "TLS"},
        {{ours.ca(), ours.certificate(), theirs.key(), ""}, Code::invalid, "leaf.key cannot be used"},
        {{directory + "/missing", "", "", ""}, Code::invalid, "missing cannot be used"},
    };
    for (const auto& one : cases) {
      options.tls = one.tls;
      auto refused = open_etcd(options);
      ASSERT_FALSE(refused.ok()) << one.says;
      EXPECT_EQ(refused.error().code, one.code) << refused.error().message;
      EXPECT_THAT(refused.error().message, HasSubstr(one.says));
    }
    options = options_of(etcd);
    options.endpoints.front().transport = http::Endpoint::Transport::tcp;
    options.deadline = 500ms;
    auto plain = open_etcd(options);
    ASSERT_FALSE(plain.ok());
    EXPECT_EQ(plain.error().code, Code::unavailable);
  }
  std::filesystem::remove_all(directory);
}

TEST_F(EtcdStoreTest, AUserAuthenticatesAgainWhenItsTokenIsGone) {
  test::EtcdFixture etcd;
  for (const Strings& command : std::vector<Strings>{{"user", "add", "root:r"},
                                                      {"user", "grant-role", "root", "root"},
                                                      {"user", "add", "firn:secret word"},
                                                      {"role", "add", "firn"},
                                                      {"role", "grant-permission", "firn", "--prefix=true", "readwrite", "/firn/v1/"},
                                                      {"user", "grant-role", "firn", "firn"},
                                                      {"auth", "enable"}}) {
    etcd.ctl(command);
  }
  auto options = options_of(etcd);
  options.user = "firn";
  options.password = "secret word";
  auto store = open_or_fail(options);
  ASSERT_NE(store, nullptr);
  auto fd = store->watch_fd();
  ASSERT_TRUE(fd.ok());
  const Revision first = must_put(*store, "a", "1");
  EXPECT_EQ(wait_for_change(*store, *fd, first - 1, "a"), first);
  auto lease = store->grant(60s);
  ASSERT_TRUE(lease.ok()) << lease.error().message;
  EXPECT_TRUE(store->keep_alive(*lease).ok());

  // Tokens live in the memory of a member.
  etcd.kill();
  etcd.start();
  etcd.wait_healthy();
  const Revision second = must_put(*store, "b", "1");
  EXPECT_GE(wait_for_change(*store, *fd, first, "b"), second);

  auto elsewhere = options;
  elsewhere.prefix = "/other/";
  auto denied = open_etcd(elsewhere);
  ASSERT_FALSE(denied.ok());
  EXPECT_EQ(denied.error().code, Code::denied);
  EXPECT_THAT(denied.error().message, HasSubstr("permission"));
  options.password = "wrong";
  auto wrong = open_etcd(options);
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, Code::denied);
  EXPECT_THAT(wrong.error().message, HasSubstr("as user firn"));
  EXPECT_THAT(wrong.error().message, testing::Not(HasSubstr("wrong")));
  options.user.clear();
  options.password.clear();
  auto nobody = open_etcd(options);
  ASSERT_FALSE(nobody.ok());
  EXPECT_EQ(nobody.error().code, Code::denied);
}

TEST_F(EtcdStoreTest, ACompactedHistoryMeansListAgain) {
  test::EtcdFixture etcd;
  auto store = open_or_fail(options_of(etcd));
  auto writer = open_or_fail(options_of(etcd));
  auto fd = store->watch_fd();
  ASSERT_TRUE(fd.ok());
  const Revision start = must_put(*writer, "a", "1");
  // More than the buffers on the way take, so that the stream stalls while nobody reads it.
  Revision last = start;
  for (int i = 0; i < 24; ++i) last = must_put(*writer, "big/" + std::to_string(i % 3), std::string(500000, 'x'));
  etcd.ctl({"compact", std::to_string(last)});
  auto changes = store->changes(start, "");
  ASSERT_TRUE(changes.ok()) << changes.error().message;
  EXPECT_GE(changes->revision, last);
  // All of it was on the way already, or etcd says that it is gone.
  if (!changes->compacted) {
    EXPECT_EQ(changes->keys, (Strings{"big/0", "big/1", "big/2"}));
  }

  auto late = open_or_fail(options_of(etcd));
  auto gone = late->changes(start, "");
  ASSERT_TRUE(gone.ok()) << gone.error().message;
  EXPECT_TRUE(gone->compacted);
  EXPECT_EQ(gone->revision, last);
  const Revision next = must_put(*writer, "b", "1");
  for (Store* one : {store.get(), late.get()}) {
    auto on = one->changes(last, "");
    ASSERT_TRUE(on.ok());
    EXPECT_FALSE(on->compacted);
    EXPECT_EQ(on->keys, (Strings{"b"}));
    EXPECT_EQ(on->revision, next);
  }
}

TEST_F(EtcdStoreTest, AClusterThatWentBackIsRefused) {
  test::EtcdFixture etcd;
  auto options = options_of(etcd);
  Position position;
  options.remember = [&](const Position& reached) { position = reached; };
  auto store = open_or_fail(options);
  must_put(*store, "a", "1");
  const std::string snapshot = etcd.directory() + "/backup.db";
  etcd.ctl({"snapshot", "save", snapshot});
  const Revision last = must_put(*store, "b", "1");
  EXPECT_EQ(position.revision, last);
  EXPECT_NE(position.cluster_id, 0u);

  etcd.kill();
  etcd.restore(snapshot, "");
  etcd.start();
  etcd.wait_healthy();
  const auto refused = [&](const Result<std::optional<Entry>>& got, const char* says) {
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().code, Code::conflict);
    EXPECT_THAT(got.error().message, HasSubstr(says));
  };
  refused(store->get("a"), "restored from an older backup");
  EXPECT_EQ(put(*store, "c", "1").error().code, Code::conflict);
  EXPECT_EQ(store->changes(last, "").error().code, Code::conflict);
  // Over a restart, by what the caller has kept.
  auto later = options;
  later.remember = {};
  EXPECT_EQ(value_of(*open_or_fail(later), "a"), "1");
  later.known = position;
  auto again = open_etcd(later);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, Code::conflict);
  EXPECT_THAT(again.error().message, HasSubstr("revision " + std::to_string(last)));

  etcd.kill();
  etcd.restore(snapshot, "another-token");
  etcd.start();
  etcd.wait_healthy();
  // A store that has refused its cluster goes on refusing.
  refused(store->get("a"), "restored from an older backup");
  later.known = {position.cluster_id, 0};
  auto foreign = open_etcd(later);
  ASSERT_FALSE(foreign.ok());
  EXPECT_EQ(foreign.error().code, Code::conflict);
  EXPECT_THAT(foreign.error().message, HasSubstr("is " + cluster_id_text(position.cluster_id) + ": the endpoint belongs to another"));
}

TEST_F(EtcdStoreTest, AServerThatNeverAnswersCostsNoMoreThanTheDeadline) {
  test::EtcdFixture etcd;
  auto options = options_of(etcd);
  auto patient = open_or_fail(options);
  options.deadline = 1s;
  auto store = open_or_fail(options);
  auto fd = store->watch_fd();
  ASSERT_TRUE(fd.ok());
  ASSERT_EQ(::kill(etcd.pid(), SIGSTOP), 0);
  auto got = store->get("a");
  auto listed = store->range("");
  auto changes = store->changes(1, "");
  auto written = put(*store, "a", "1");
  auto opened = open_etcd(options);
  ASSERT_EQ(::kill(etcd.pid(), SIGCONT), 0);
  auto committing = store->transact([&](Transaction& transaction) {
    auto status = count_up(transaction);
    EXPECT_EQ(::kill(etcd.pid(), SIGSTOP), 0);
    return status;
  });
  ASSERT_EQ(::kill(etcd.pid(), SIGCONT), 0);
  ASSERT_FALSE(got.ok() || listed.ok() || written.ok() || opened.ok());
  for (const Error* error : {&got.error(), &listed.error(), &written.error(), &opened.error()}) {
    EXPECT_EQ(error->code, Code::unavailable) << error->message;
  }
  // With a stream that was open before, nobody has to be asked.
  if (changes) EXPECT_TRUE(changes->keys.empty());
  else EXPECT_EQ(changes.error().code, Code::unavailable) << changes.error().message;
  // The request is in the server's hands: it may do it yet.
  ASSERT_FALSE(committing.ok());
  EXPECT_EQ(committing.error().code, Code::interrupted);
  EXPECT_THAT(committing.error().message, HasSubstr("look before doing it again"));
  must_put(*patient, "b", "1");
  EXPECT_EQ(value_of(*store, "b"), "1");
}

TEST_F(EtcdStoreTest, AHugeAnswerIsRefused) {
  test::EtcdFixture etcd;
  auto options = options_of(etcd);
  auto writer = open_or_fail(options);
  for (int i = 0; i < 4; ++i) must_put(*writer, "big/" + std::to_string(i), std::string(100000, 'x'));
  must_put(*writer, "small", "1");
  options.answer_limit = 200 * 1024;
  auto store = open_or_fail(options);
  auto listed = store->range("big/");
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code, Code::io);
  EXPECT_THAT(listed.error().message, HasSubstr("larger than 204800 bytes"));
  EXPECT_EQ(value_of(*store, "small"), "1");
}

TEST_F(EtcdStoreTest, AFullDatabaseIsSaidInWords) {
  test::EtcdFixture::Setup setup;
  setup.arguments = {"--quota-backend-bytes=" + std::to_string(8 << 20)};
  test::EtcdFixture etcd(setup);
  auto store = open_or_fail(options_of(etcd));
  Result<Revision> written = Revision{0};
  for (int i = 0; i < 40 && written; ++i) written = put(*store, "big", std::string(1 << 20, static_cast<char>('a' + i)));
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, Code::exhausted);
  EXPECT_THAT(written.error().message, HasSubstr("etcdctl alarm disarm"));
  EXPECT_EQ(value_of(*store, "big").size(), 1u << 20);
}

TEST_F(EtcdStoreTest, ATransactionThatIsTooLargeIsRefused) {
  test::EtcdFixture etcd;
  auto store = open_or_fail(options_of(etcd));
  const auto write = [&](int count) {
    return store->transact([&](Transaction& transaction) {
      for (int i = 0; i < count; ++i) transaction.put("k/" + std::to_string(1000 + i), "x");
      return Status();
    });
  };
  EXPECT_TRUE(write(127).ok());
  auto refused = write(128);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid);
  EXPECT_THAT(refused.error().message, HasSubstr("in parts"));
  // Reading many keys at once is one guard, however many there are.
  auto listed = store->transact([&](Transaction& transaction) -> Status {
    auto all = transaction.range("k/");
    if (!all) return std::move(all).error();
    EXPECT_EQ(all->size(), 127u);
    transaction.put("k/all", "seen");
    return {};
  });
  EXPECT_TRUE(listed.ok());
}

// What the body has read is changed before it commits: it runs again, and sees it.
TEST_F(EtcdStoreTest, ChangesOfWhatWasReadAreNoticed) {
  test::EtcdFixture etcd;
  auto store = open_or_fail(options_of(etcd));
  auto other = open_or_fail(options_of(etcd));
  const auto erase = [](Store& from, std::string_view key) {
    EXPECT_TRUE(from.transact([&](Transaction& t) { return t.erase(key), Status(); }).ok());
  };
  const struct {
    const char* what;
    std::function<Status(Transaction&)> read;
    std::function<void()> meddle;
    int runs;
  } cases[] = {
      {"a key that is written", [](Transaction& t) { return t.get("dir/a") ? Status() : Status(make_error(Code::io, "read")); },
       [&] { must_put(*other, "dir/a", "new"); }, 2},
      {"a key that is erased", [](Transaction& t) { return t.get("dir/a") ? Status() : Status(make_error(Code::io, "read")); },
       [&] { erase(*other, "dir/a"); }, 2},
      {"a missing key that is made", [](Transaction& t) { return t.get("dir/none") ? Status() : Status(make_error(Code::io, "read")); },
       [&] { must_put(*other, "dir/none", "new"); }, 2},
      {"a range that gets a key", [](Transaction& t) { return t.range("dir/") ? Status() : Status(make_error(Code::io, "read")); },
       [&] { must_put(*other, "dir/z", "new"); }, 2},
      {"a range that loses a key", [](Transaction& t) { return t.range("dir/") ? Status() : Status(make_error(Code::io, "read")); },
       [&] { erase(*other, "dir/b"); }, 2},
      {"everything, which loses a key", [](Transaction& t) { return t.range("") ? Status() : Status(make_error(Code::io, "read")); },
       [&] { erase(*other, "dir/b"); }, 2},
      {"the rest of a range", [](Transaction& t) { return t.range("dir/", 1) ? Status() : Status(make_error(Code::io, "read")); },
       [&] { must_put(*other, "dir/z", "new"); }, 1},
      {"another range", [](Transaction& t) { return t.range("dir/") ? Status() : Status(make_error(Code::io, "read")); },
       [&] { erase(*other, "elsewhere/a"); }, 1},
  };
  for (const auto& one : cases) {
    for (const char* key : {"dir/a", "dir/b", "dir/c", "elsewhere/a"}) must_put(*other, key, "old");
    for (const char* key : {"dir/none", "dir/z"}) erase(*other, key);
    int runs = 0;
    auto done = store->transact([&](Transaction& transaction) -> Status {
      if (auto read = one.read(transaction); !read) return read;
      if (++runs == 1) one.meddle();
      transaction.put("result", one.what);
      return {};
    });
    EXPECT_TRUE(done.ok()) << one.what;
    EXPECT_EQ(runs, one.runs) << one.what;
    EXPECT_EQ(value_of(*store, "result"), one.what);
  }
}

// All reads of a body are of one revision, also when others write between them.
TEST_F(EtcdStoreTest, ABodyReadsOneState) {
  test::EtcdFixture etcd;
  auto store = open_or_fail(options_of(etcd));
  auto other = open_or_fail(options_of(etcd));
  must_put(*other, "a", "1");
  must_put(*other, "b", "1");
  auto done = store->transact([&](Transaction& transaction) -> Status {
    auto a = transaction.get("a");
    EXPECT_TRUE(other->transact([](Transaction& t) { return t.put("a", "2"), t.put("b", "2"), t.put("c", "2"), Status(); }).ok());
    auto b = transaction.get("b");
    auto all = transaction.range("");
    if (!a || !b || !all) return make_error(Code::io, "read");
    EXPECT_EQ(**a, **b);
    EXPECT_EQ(all->front().value, **a);
    return {};
  });
  EXPECT_TRUE(done.ok());
}

TEST_F(EtcdStoreTest, ALostAnswerIsFoundOut) {
  test::EtcdFixture etcd;
  test::TcpProxy proxy(etcd.endpoint().port);
  auto options = options_of(etcd);
  auto direct = open_or_fail(options);
  options.endpoints.front().port = proxy.port();
  auto store = open_or_fail(options);
  for (int i = 1; i <= 5; ++i) {
    proxy.lose_answer_to("/v3/kv/txn");
    int runs = 0;
    auto done = store->transact([&](Transaction& transaction) {
      ++runs;
      return count_up(transaction);
    });
    ASSERT_TRUE(done.ok()) << done.error().message;
    EXPECT_EQ(runs, 1);
    EXPECT_EQ(proxy.lost(), i);
    EXPECT_EQ(value_of(*direct, "count"), std::to_string(i));
    auto entry = direct->get("count");
    EXPECT_EQ((*entry)->modified, *done);
  }
}

// The request is held up on its way, the store gives it up and commits again; the old one comes late and must not count.
TEST_F(EtcdStoreTest, ALateRequestIsFencedOff) {
  test::EtcdFixture etcd;
  test::TcpProxy proxy(etcd.endpoint().port);
  auto options = options_of(etcd);
  auto direct = open_or_fail(options);
  options.endpoints.front().port = proxy.port();
  options.deadline = 4s;
  auto store = open_or_fail(options);
  int runs = 0;
  proxy.hold("/v3/kv/txn");
  // Without a read there is nothing but the fence that could stop the first attempt.
  auto done = store->transact([&](Transaction& transaction) {
    transaction.put("a", std::to_string(++runs));
    return Status();
  });
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(runs, 2);
  proxy.release();
  auto entry = direct->get("a");
  ASSERT_TRUE(entry.ok() && *entry);
  EXPECT_EQ((*entry)->value, "2");
  EXPECT_EQ((*entry)->modified, *done);
}

}  // namespace
}  // namespace firn::kv
