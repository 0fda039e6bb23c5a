// Documents of objects: what is wrong with one is told with file, line, column, kind and name; what is right becomes records, all
// or none. The stores are real, in a directory of the test's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "cli/plan.hpp"
#include "cli/unified_diff.hpp"
#include "lib/base/nearest.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/policy.hpp"

namespace firn::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class ManifestTest : public testing::Test {
 protected:
  ManifestTest() {
    char name[] = "/tmp/firn-t-manifest-XXXXXX";
    directory = ::mkdtemp(name);
    stores.cluster = open("cluster.db");
    stores.node = open("node.db");
    stores.name = "node-a";
    put(model::keys::node("node-a"), R"({"v":1,"name":"node-a","machine_id":"m","addresses":["192.0.2.11"],"joined_at":7})");
    put(model::keys::pool("old"), R"({"v":1,"name":"old","cidr":"10.1.0.0/16","block_size":28})");
  }
  ~ManifestTest() override {
    stores = {};
    std::filesystem::remove_all(directory);
  }

  std::unique_ptr<kv::Store> open(const std::string& file) {
    kv::SqliteOptions options;
    options.path = directory + "/" + file;
    return std::move(kv::open_sqlite(options)).value();
  }
  void put(const std::string& key, const std::string& value) { ASSERT_TRUE(put_record(*stores.cluster, key, value)); }

  // What apply says of the text: a line an object, or the errors.
  std::string apply(const std::string& text, bool keep = true) {
    std::vector<Object> objects;
    std::vector<Error> errors;
    read_text("f", text, objects, errors);
    check_twice(objects, errors);
    if (!errors.empty()) return joined(errors).message;
    auto outcomes = carry_out(stores, objects, keep);
    if (!outcomes) return outcomes.error().message;
    std::string out;
    for (const Outcome& outcome : *outcomes) {
      out += outcome.object->label() + (outcome.changes() ? outcome.before ? " configured\n" : " created\n" : " unchanged\n");
    }
    return out;
  }
  std::string stored() {
    std::string out;
    for (const kv::Entry& entry : stores.cluster->range("").value().entries) out += entry.key + " " + entry.value + "\n";
    return out;
  }

  std::string directory;
  Stores stores;
};

std::string doc(const std::string& kind, const std::string& name, const std::string& spec) {
  return "apiVersion: firn/v1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec:\n  " + spec + "\n";
}

TEST_F(ManifestTest, ABadDocumentIsNamedWithItsPlaceAndChangesNothing) {
  const std::string pool = "apiVersion: firn/v1\nkind: Pool\nmetadata: {name: web}\n";
  const std::string peer = "address: 192.0.2.1\n  as_number: 65000\n  ";
  const std::pair<std::string, std::string> cases[] = {
      // The form.
      {"- a", "f:1:1: must be an object: apiVersion, kind, metadata and spec"},
      {"metadata: {name: web}", "f:1:1: kind: is missing"},
      {"kind: [Pool]", "f:1:1: kind: must be a string"},
      {"kind: Pol", "f:1:1: kind: there is no kind 'Pol'; did you mean 'Pool'?"},
      {"kind: Deployment", "f:1:1: kind: there is no kind 'Deployment'; known here: Pool, Reservation, Node, BgpSettings, BgpPeer, BgpFilter, BgpCommunity, BgpPrefix, NetworkPolicy, GlobalNetworkPolicy, Namespace, HostEndpoint, PolicySettings"},
      {"kind: Pool\nmetadata: {name: web}", "f:1:1: Pool web: apiVersion: is missing"},
      {"apiVersion: v1\nkind: Pool\nmetadata: {name: web}", "f:1:1: Pool web: apiVersion: must be firn/v1 for a Pool"},
      {"apiVersion: firn/v1\nkind: Pool", "f:1:1: Pool: metadata: must be an object that has a name"},
      {"apiVersion: firn/v1\nkind: Pool\nmetadata: {}", "f:3:1: Pool: metadata.name: is missing"},
      {"apiVersion: firn/v1\nkind: Pool\nmetadata:\n  name: 7", "f:4:3: Pool: metadata.name: must be a string; quote it"},
      {"apiVersion: firn/v1\nkind: Pool\nmetadata:\n  nam: web",
       "f:4:3: Pool: metadata.nam: there is no field 'nam'; did you mean 'name'?\nf:3:1: Pool: metadata.name: is missing"},
      {"apiVersion: firn/v1\nkind: Pool\nmetadata: {name: web, labels: {a: b}}",
       "f:3:23: Pool web: metadata.labels: a Pool has no labels"},
      {doc("Pool", "Web", "cidr: 10.9.0.0/16"),
       "f:3:12: Pool Web: metadata.name: pool name 'Web' must be 1 to 63 of a-z 0-9 . - and begin and end with a letter or digit"},
      {doc("BgpSettings", "main", "as_number: 65001"),
       "f:3:12: BgpSettings main: metadata.name: there is one BgpSettings alone, and its name is default"},
      {pool + "spce: {}", "f:4:1: Pool web: spce: there is no field 'spce'; did you mean 'spec'?"},
      {pool + "spec: [1]", "f:4:1: Pool web: spec: must be an object"},
      {doc("Pool", "web", "name: web"), "f:5:3: Pool web: spec.name: stands in metadata.name, and there alone"},
      {doc("Pool", "web", "node_only: true"), "f:5:3: Pool web: spec.node_only: is written by firn alone"},
      {doc("Node", "node-a", "labels: {a: b}"), "f:5:3: Node node-a: spec.labels: stands in metadata.labels"},
      {pool + "spec: {cidr: 10.9.0.0/16}\n---\n" + pool + "spec: {cidr: 10.9.0.0/16}",
       "f:8:12: Pool web: metadata.name: is given twice, first at f:1:1"},
      {"kind: List\nitems: 7", "f:2:1: items: must be a list of objects"},
      {"kind: List\nitems:\n  - kind: Pol", "f:3:5: kind: there is no kind 'Pol'; did you mean 'Pool'?"},
      // The text.
      {pool + "spec:\n\tcidr: 10.9.0.0/16", "f:5:1: the line is indented with a tab; YAML wants blanks"},
      {pool + "spec:\n  cidr: 10.9.0.0/16\n cidr: x", "f:6:2: the indentation fits no line above"},
      {pool + "spec: {}\nspec: {}", "f:5:1: 'spec' is here twice, first at line 4"},
      {pool + "\"\\e[2J\": 1\n\"\\e[2J\": 2", "f:5:1: '\\x1b[2J' is here twice, first at line 4"},
      // The record.
      {doc("Pool", "web", "cidr: \"\\e[2J\""), "f:5:3: Pool web: spec.cidr: '\\x1b[2J' is not an IPv4 or IPv6 address"},
      {pool, "f:1:1: Pool web: spec.cidr: missing"},
      {doc("Pool", "web", "cidr: 10.9.0.1/16"), ""},
      {doc("Pool", "web", "cdir: 10.9.0.0/16"), "f:5:3: Pool web: spec.cdir: there is no field 'cdir'; did you mean 'cidr'?"},
      {doc("Pool", "web", "cidr: 10.9.0.0/16\n  blockSize: 26"),
       "f:6:3: Pool web: spec.blockSize: there is no field 'blockSize'; did you mean 'block_size'?"},
      {doc("Pool", "web", "cidr: 10.9.0.0/16\n  block_size: \"26\""),
       "f:6:3: Pool web: spec.block_size: must be an integer, not a string"},
      {doc("Pool", "web", "cidr: 10.9.0.0/16\n  disabled: yes"),
       "f:6:3: Pool web: spec.disabled: must be true or false, not a string"},
      {doc("Pool", "web", "cidr: 10.9.0.0/16\n  node_selector:\n    rack: 7"),
       "f:7:5: Pool web: spec.node_selector.rack: must be a string, not an integer"},
      {doc("Pool", "net-a", "cidr: 10.9.0.0/16"),
       "f:3:12: Pool net-a: metadata.name: names that begin with \"net-\" are kept for the subnets of CNI configurations"},
      {doc("BgpPeer", "tor", peer + "hold_time: 2"), "f:7:3: BgpPeer tor: spec.hold_time: must be 0 or 3 to 65535 seconds"},
      {doc("BgpPeer", "tor", peer + "password_file: secret"), "f:7:3: BgpPeer tor: spec.password_file: must be an absolute path"},
      {doc("BgpPeer", "tor", "address: fe80::1\n  as_number: 65000"),
       "f:4:1: BgpPeer tor: spec.interface: is needed, because fe80::1 is link-local"},
      {doc("BgpPeer", "tor", peer + "import_rules:\n    - {accept: true, within: 10.0.0.0/8, leest: 8, most: 24}"),
       "f:8:42: BgpPeer tor: spec.import_rules[0].leest: there is no field 'leest'; did you mean 'least'?"},
      {doc("BgpPeer", "tor", peer + "import_rules:\n    - {within: 10.0.0.0/8, least: 8, most: 24}"),
       "f:8:7: BgpPeer tor: spec.import_rules[0].accept: missing"},
      {doc("BgpPeer", "tor", peer + "import_rules:\n    - {accept: true, within: fd00::/8, least: 8, most: 24}"),
       "f:8:7: BgpPeer tor: spec.import_rules[0]: rule 'accept fd00::/8 le 24': one session carries the family of its own address, "
       "192.0.2.1"},
      {doc("BgpSettings", "default", "as_number: 23456"),
       "f:5:3: BgpSettings default: spec.as_number: '23456' is not an AS number that a router can have (23456 is AS_TRANS)"},
      // The store.
      {doc("Pool", "web", "cidr: 10.1.2.0/24"), "f:1:1: Pool web: pool web (10.1.2.0/24) overlaps with pool old (10.1.0.0/16)"},
      {doc("Pool", "a", "cidr: 10.9.0.0/16") + "---\n" + doc("Pool", "b", "cidr: 10.9.1.0/24"),
       "f:1:1: Pool a: pool a (10.9.0.0/16) overlaps with pool b (10.9.1.0/24)\n"
       "f:7:1: Pool b: pool b (10.9.1.0/24) overlaps with pool a (10.9.0.0/16)"},
      {doc("Pool", "old", "cidr: 10.1.0.0/16"), "f:4:1: Pool old: spec.block_size: cannot change from 28; create another pool"},
      {doc("Node", "node-z", "addresses: [192.0.2.9]"),
       "f:1:1: Node node-z: is not there; it is made by 'firnctl init' on that host"},
      {doc("Node", "node-a", "addresses: []"),
       "f:5:3: Node node-a: spec.addresses: peers must be able to reach the node at one address at least"},
      {doc("BgpPeer", "tor", peer + "node: node-z"),
       "f:7:3: BgpPeer tor: spec.node: there is no node node-z; 'firnctl node list' shows them"},
  };
  const std::string before = stored();
  for (const auto& [text, message] : cases) {
    const std::string good = doc("Reservation", "10.200.0.0/16", "note: good") + "---\n";
    if (message.empty()) {
      EXPECT_THAT(apply(text), HasSubstr("f:5:3: Pool web: spec.cidr: ")) << text;
    } else {
      EXPECT_EQ(apply(text), message) << text;
    }
    EXPECT_NE(apply(good + text), "") << text;
    EXPECT_EQ(stored(), before) << text;
  }
}

TEST_F(ManifestTest, EveryBadObjectIsToldAtOnce) {
  EXPECT_EQ(apply(doc("Pool", "a", "cidr: 7") + "---\n" + doc("Pool", "b", "cidr: 10.1.0.0/16\n  block_size: 99") + "---\n" +
                  doc("Pool", "c", "cidr: 10.9.0.0/16")),
            "f:5:3: Pool a: spec.cidr: must be a string, not an integer\n"
            "f:12:3: Pool b: spec.block_size: must be 16 to 32");
}

TEST_F(ManifestTest, WhatIsAppliedIsStoredAndComesBack) {
  const std::string text =
      doc("Pool", "web", "cidr: 10.9.0.0/16\n  node_selector: {rack: r1}") + "---\n" +
      doc("Reservation", "10.9.0.0/28", "note: routers") + "---\n" +
      "apiVersion: firn/v1\nkind: Node\nmetadata:\n  name: node-a\n  labels: {rack: r1}\nspec: {addresses: [192.0.2.12]}\n" +
      "---\n" + doc("BgpSettings", "default", "as_number: 65001") + "---\n" +
      doc("BgpPeer", "tor", "address: 192.0.2.1\n  as_number: 65000\n  hold_time: 30\n  node: node-a\n  export_filters: [out]") + "---\n" +
      doc("BgpFilter", "out", "rules:\n    - action: accept\n      prefixes: [{within: 10.9.0.0/16, least: 16, most: 26}]\n      add_communities: [mine]") +
      "---\n" + doc("BgpCommunity", "mine", "values: ['64512:1', no-export]") + "---\n" +
      doc("BgpPrefix", "198.51.100.53/32", "node_selector: {rack: r1}\n  communities: [mine]") + "---\n" +
      "apiVersion: firn/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec: {selector: \"app == 'web'\"}\n---\n" +
      doc("GlobalNetworkPolicy", "base", "ingress: [{action: pass}]") + "---\n" +
      "apiVersion: firn/v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n---\n" +
      "apiVersion: firn/v1\nkind: HostEndpoint\nmetadata: {name: up, node: node-a, labels: {role: edge}}\nspec: {interface: eth0}\n---\n" +
      doc("PolicySettings", "default", "default_deny: true\n  failsafe_in: [22]");
  const std::string before = stored();
  const std::string said =
      "pool/web created\nreservation/10.9.0.0/28 created\nnode/node-a configured\nbgpsettings/default created\nbgppeer/tor "
      "created\nbgpfilter/out created\nbgpcommunity/mine created\nbgpprefix/198.51.100.53/32 created\nnetworkpolicy/shop/web created\n"
      "globalnetworkpolicy/base created\nnamespace/shop created\nhostendpoint/node-a/up created\npolicysettings/default created\n";
  EXPECT_EQ(apply(text, false), said);
  EXPECT_EQ(stored(), before);
  EXPECT_EQ(apply(text), said);
  const auto pool = model::decode_pool(stores.cluster->get(model::keys::pool("web")).value()->value).value();
  EXPECT_EQ(pool.block_size, 26);
  const auto node = model::decode_node(stores.cluster->get(model::keys::node("node-a")).value()->value).value();
  EXPECT_EQ(node.machine_id, "m");
  EXPECT_EQ(node.joined_at, 7);
  EXPECT_EQ(node.labels.at("rack"), "r1");
  EXPECT_EQ(model::decode_bgp_peer(stores.cluster->get(model::keys::bgp_peer("tor")).value()->value)->keepalive_time, 10);

  // The documents of every kind, as get shows them, are taken back and change nothing; as JSON too.
  for (const Kind& kind : all_kinds()) {
    std::vector<std::string> documents;
    for (const kv::Entry& entry : stores.cluster->range(kind.keys).value().entries) {
      documents.push_back(document_of(kind, kind.read(entry.value).value(), true));
    }
    ASSERT_FALSE(documents.empty()) << kind.name;
    for (const std::string& form :
         {yaml_documents(documents), json_documents(documents), json::pretty(json_documents(documents))}) {
      const std::string again = apply(form);
      EXPECT_THAT(again, HasSubstr(kind.word() + "/")) << form;
      EXPECT_THAT(again, Not(HasSubstr("configured"))) << form;
      EXPECT_THAT(again, Not(HasSubstr("created"))) << form;
    }
  }
}

TEST_F(ManifestTest, PoliciesAreOfANamespaceAndMayBeKubernetes) {
  const std::string ours = "apiVersion: firn/v1\nkind: NetworkPolicy\nmetadata: {name: web}\nspec: {order: 5}\n";
  const std::string theirs =
      "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: web\n  labels: {team: a}\n  uid: x\nspec:\n  podSelector: {}\n"
      "  ingress:\n  - from:\n    - podSelector: {matchLabels: {app: web}}\n";
  EXPECT_EQ(apply(ours), "networkpolicy/default/web created\n");
  EXPECT_EQ(apply(theirs), "networkpolicy/default/web configured\n");
  EXPECT_EQ(apply(theirs), "networkpolicy/default/web unchanged\n");
  const auto policy = model::decode_policy(stores.cluster->get(model::keys::policy("default", "web")).value()->value).value();
  EXPECT_EQ(policy.order, 1000);
  EXPECT_EQ(policy.ingress.at(0).source.selector, "app == 'web'");
  EXPECT_THAT(apply(ours + "---\n" + theirs), HasSubstr("f:9:3: NetworkPolicy default/web: metadata.name: is given twice, first at f:1:1"));
  EXPECT_EQ(apply("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: shop, labels: {team: a}}\n"),
            "namespace/shop created\n");

  const std::pair<std::string, const char*> bad[] = {
      {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: {name: p, namespace: a}\n  spec:\n"
       "    podSelector: {}\n    ingress:\n    - from:\n      - ipBlock: {cidr: 10.0.0.0/33}\n",
       "f:11:19: NetworkPolicy a/p: spec.ingress[0].from[0].ipBlock.cidr: '10.0.0.0/33' is no network as 10.0.0.0/8 or fd00::/8"},
      {"apiVersion: networking.k8s.io/v2\nkind: NetworkPolicy\nmetadata: {name: p}\n",
       "f:1:1: NetworkPolicy p: apiVersion: must be firn/v1 or networking.k8s.io/v1 for a NetworkPolicy"},
      {"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, nodes: x}\n",
       "NetworkPolicy default/p: metadata.nodes: there is no field 'nodes'"},
      {"apiVersion: firn/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: A}\n",
       "f:3:21: NetworkPolicy A/p: metadata.namespace: namespace 'A' must be 1 to 63"},
      {"apiVersion: firn/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: 7}\n",
       "f:3:21: NetworkPolicy p: metadata.namespace: must be a string that is not empty"},
      {"apiVersion: firn/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  ingress:\n  - action: allow\n    source:\n      selector: app = 'web'\n",
       "f:8:7: NetworkPolicy default/p: spec.ingress[0].source.selector: column 5: expected ==, !=, in, not in"},
      {"apiVersion: firn/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  namespace: a\n",
       "f:5:3: NetworkPolicy default/p: spec.namespace: stands in metadata.namespace"},
      {doc("GlobalNetworkPolicy", "p", "namespace: a"), "GlobalNetworkPolicy p: spec.namespace: a GlobalNetworkPolicy is in none; write a NetworkPolicy"},
      {doc("HostEndpoint", "up", "interface: eth0"), "HostEndpoint up: metadata.node: is missing"},
      {"apiVersion: firn/v1\nkind: HostEndpoint\nmetadata: {name: up, node: node-a}\nspec: {interface: eth0}\n---\n"
       "apiVersion: firn/v1\nkind: HostEndpoint\nmetadata: {name: too, node: node-a}\nspec: {interface: eth0}\n",
       "spec.interface: eth0 of node-a is host endpoint too already"},
  };
  const std::string before = stored();
  for (const auto& [text, message] : bad) EXPECT_THAT(apply(text), HasSubstr(message)) << text;
  EXPECT_EQ(stored(), before);
}

TEST_F(ManifestTest, ObjectsOfOneFileMayChangePlaces) {
  const auto peers = [](const std::string& a, const std::string& b) {
    return doc("BgpPeer", "a", "address: " + a + "\n  as_number: 65000") + "---\n" +
           doc("BgpPeer", "b", "address: " + b + "\n  as_number: 65000");
  };
  EXPECT_EQ(apply(peers("192.0.2.1", "192.0.2.2")), "bgppeer/a created\nbgppeer/b created\n");
  EXPECT_EQ(apply(peers("192.0.2.2", "192.0.2.1")), "bgppeer/a configured\nbgppeer/b configured\n");
}

TEST_F(ManifestTest, WhatAPeerUsesMustBeThere) {
  const std::string peer = doc("BgpPeer", "a", "address: 192.0.2.1\n  as_number: 65000\n  import_filters: [sane]");
  EXPECT_THAT(apply(peer), HasSubstr("spec.import_filters: there is no filter sane"));
  EXPECT_THAT(apply(doc("BgpPrefix", "198.51.100.0/24", "communities: [mine]")), HasSubstr("spec.communities: there is no community mine"));
  EXPECT_THAT(apply(doc("BgpFilter", "f", "rules: [{action: accept, add_communities: [mine]}]")), HasSubstr("there is no community mine"));
  EXPECT_THAT(apply(doc("BgpCommunity", "no-export", "values: ['1:2']")), HasSubstr("well-known"));
}

TEST_F(ManifestTest, ADamagedRecordIsNamed) {
  put(model::keys::pool("bad"), "{");
  EXPECT_THAT(apply(doc("Pool", "bad", "cidr: 10.9.0.0/16")), HasSubstr("the record pool/bad cannot be read"));
}

TEST_F(ManifestTest, FoldersAndTheirLimits) {
  EXPECT_THAT(read_manifest({directory + "/nope.yaml"}).error().message, HasSubstr("nope.yaml"));
  std::filesystem::create_directory(directory + "/empty");
  EXPECT_THAT(read_manifest({directory + "/empty"}).error().message, HasSubstr("has no *.yaml"));
}

TEST(Kinds, AreFoundByEveryNameTheyHave) {
  for (const char* word : {"pool", "pools", "Pool"}) EXPECT_EQ(find_kind(word).value()->name, "Pool");
  for (const char* word : {"bgpsettings", "BgpSettings"}) EXPECT_EQ(find_kind(word).value()->name, "BgpSettings");
  EXPECT_EQ(find_kind("bgpper").error().message, "there is no kind 'bgpper'; did you mean 'bgppeer'?");
}

TEST(Nearest, FindsSlipsAndNothingElse) {
  const std::vector<std::string> words = {"block_size", "cidr", "node_selector", "disabled"};
  const std::pair<const char*, const char*> cases[] = {{"cdir", "cidr"},
                                                       {"blocksize", "block_size"},
                                                       {"BlockSize", "block_size"},
                                                       {"disable", "disabled"},
                                                       {"nodeSelectors", "node_selector"},
                                                       {"mtu", ""},
                                                       {"", ""}};
  for (const auto& [word, meant] : cases) EXPECT_EQ(nearest(word, words), meant) << word;
  EXPECT_EQ(nearest(std::string(100000, 'x'), words), "");
}

TEST(UnifiedDiff, IsWhatDiffPrints) {
  EXPECT_EQ(unified_diff("pool/web", "a\n", "a\n"), "");
  EXPECT_EQ(unified_diff("pool/web", "", "a\nb\n"), "--- /dev/null\n+++ applied/pool/web\n@@ -0,0 +1,2 @@\n+a\n+b\n");
  EXPECT_EQ(
      unified_diff("pool/web", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n10\n11\n12\n14\ny\n"),
      "--- stored/pool/web\n+++ applied/pool/web\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n@@ -10,5 +10,5 @@\n 10\n 11\n "
      "12\n"
      "-13\n 14\n+y\n");
  // Six equal lines between two changes are one hunk, seven are two; texts that share nothing are replaced.
  EXPECT_EQ(unified_diff("x", "a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n"),
            "--- stored/x\n+++ applied/x\n@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n");
  std::string before, after;
  for (int i = 0; i < 3000; ++i) {
    before += "a" + std::to_string(i) + "\n";
    after += "b" + std::to_string(i) + "\n";
  }
  EXPECT_THAT(unified_diff("x", before, after), HasSubstr("@@ -1,3000 +1,3000 @@\n-a0\n"));
}

}  // namespace
}  // namespace firn::cli
