// Kubernetes' documents mean here what its documentation says they mean: its recipes as a table of who reaches whom, and
// every way of writing a rule down.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/policy/evaluate.hpp"
#include "lib/policy/kubernetes.hpp"
#include "lib/yaml/yaml.hpp"

namespace firn::policy {
namespace {

using testing::HasSubstr;

Result<model::Policy> read(const std::string& yaml) {
  const auto reading = yaml::read(yaml);
  if (reading.fault) return make_error(Code::io, reading.fault->message);
  return read_network_policy(json::Document::parse(reading.documents.front().json())->root());
}

// A policy with this spec, in the namespace "default".
std::string with_spec(const std::string& spec) {
  std::string out = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\nspec:\n";
  for (size_t at = 0; at < spec.size();) {
    const size_t end = std::min(spec.find('\n', at), spec.size());
    out += "  " + spec.substr(at, end - at) + "\n";
    at = end + 1;
  }
  return out;
}

model::Endpoint pod(const char* space, const char* name, const char* address, Labels labels) {
  model::Endpoint out;
  out.network = "net";
  out.container_id = out.pod_name = name;
  out.ifname = "eth0";
  out.pod_namespace = space;
  out.addresses = {*Address::parse(address)};
  out.labels = std::move(labels);
  out.annotations = {{"firn.io/ports", "http=8080/tcp,metrics=9100/tcp,dns=53/udp"}};
  return out;
}

// Pods of three namespaces, and two addresses outside.
class Recipe : public testing::Test {
 protected:
  const model::Endpoint db = pod("default", "db", "10.0.0.1", {{"role", "db"}});
  const model::Endpoint front = pod("default", "front", "10.0.0.2", {{"role", "frontend"}});
  const model::Endpoint plain = pod("default", "plain", "10.0.0.3", {});
  const model::Endpoint project = pod("myproject", "project", "10.0.1.1", {{"role", "frontend"}});
  const model::Endpoint other = pod("other", "other", "10.0.2.1", {{"role", "client"}});
  const model::Endpoint dns = pod("kube-system", "dns", "10.0.3.1", {{"k8s-app", "kube-dns"}});

  void apply(const std::string& spec) {
    auto policy = read(with_spec(spec));
    ASSERT_TRUE(policy.ok()) << policy.error().message;
    // What is stored is what was read.
    auto stored = model::decode_policy(model::Source(encode(*policy), true));
    ASSERT_TRUE(stored.ok()) << stored.error().message;
    ASSERT_EQ(*stored, *policy);
    policies_.push_back(*policy);
  }
  bool reaches(const End& source, const End& destination, uint16_t port, uint8_t protocol = 6) {
    auto rules = Evaluator::make(policies_, {model::Namespace{.name = "myproject", .labels = {{"project", "myproject"}}}}, {});
    EXPECT_TRUE(rules.ok()) << rules.error().message;
    return rules->judge(source, destination, {.protocol = protocol, .source_port = 40000, .destination_port = port}).allowed();
  }
  bool reaches(const model::Endpoint& from, const model::Endpoint& to, uint16_t port, uint8_t protocol = 6) {
    return reaches(at(from), at(to), port, protocol);
  }
  bool comes_in(const char* from, const model::Endpoint& to, uint16_t port) { return reaches(outside(from), at(to), port); }
  bool goes_out(const model::Endpoint& from, const char* to, uint16_t port, uint8_t protocol = 6) {
    return reaches(at(from), outside(to), port, protocol);
  }
  static End at(const model::Endpoint& e) {
    return {.address = e.addresses[0], .endpoint = &e, .host_endpoint = nullptr, .node = "n1"};
  }
  static End outside(const char* address) {
    return {.address = *Address::parse(address), .endpoint = nullptr, .host_endpoint = nullptr, .node = {}};
  }

 private:
  std::vector<model::Policy> policies_;
};

// The example at the beginning of Kubernetes' page about network policies.
TEST_F(Recipe, TheExampleOfTheDocumentation) {
  apply(R"(podSelector:
  matchLabels:
    role: db
policyTypes:
- Ingress
- Egress
ingress:
- from:
  - ipBlock:
      cidr: 172.17.0.0/16
      except:
      - 172.17.1.0/24
  - namespaceSelector:
      matchLabels:
        project: myproject
  - podSelector:
      matchLabels:
        role: frontend
  ports:
  - protocol: TCP
    port: 6379
egress:
- to:
  - ipBlock:
      cidr: 10.0.0.0/24
  ports:
  - protocol: TCP
    port: 5978)");
  EXPECT_TRUE(comes_in("172.17.0.1", db, 6379));
  EXPECT_TRUE(comes_in("172.17.2.255", db, 6379));
  EXPECT_FALSE(comes_in("172.17.1.1", db, 6379));
  EXPECT_FALSE(comes_in("172.18.0.1", db, 6379));
  EXPECT_FALSE(comes_in("172.17.0.1", db, 6380));
  EXPECT_TRUE(reaches(front, db, 6379));
  EXPECT_FALSE(reaches(front, db, 6379, 17));
  EXPECT_TRUE(reaches(project, db, 6379));
  EXPECT_FALSE(reaches(plain, db, 6379));
  EXPECT_FALSE(reaches(other, db, 6379));
  EXPECT_TRUE(goes_out(db, "10.0.0.200", 5978));
  EXPECT_FALSE(goes_out(db, "10.0.0.200", 5979));
  EXPECT_FALSE(goes_out(db, "10.0.1.200", 5978));
  // Whom it does not select, it does not touch.
  EXPECT_TRUE(reaches(other, plain, 6379));
  EXPECT_TRUE(goes_out(plain, "192.0.2.1", 443));
}

TEST_F(Recipe, DefaultDenyIngress) {
  apply("podSelector: {}\npolicyTypes:\n- Ingress");
  EXPECT_FALSE(reaches(plain, db, 80));
  EXPECT_FALSE(comes_in("192.0.2.1", db, 80));
  EXPECT_TRUE(goes_out(db, "192.0.2.1", 80));
  EXPECT_TRUE(reaches(plain, other, 80));  // of another namespace
}

TEST_F(Recipe, AllowAllIngressOverADeny) {
  apply("podSelector: {}\npolicyTypes:\n- Ingress");
  apply("podSelector: {}\ningress:\n- {}\npolicyTypes:\n- Ingress");
  EXPECT_TRUE(reaches(other, db, 80));
  EXPECT_TRUE(comes_in("2001:db8::1", pod("default", "six", "fd00::1", {}), 80));
}

TEST_F(Recipe, DefaultDenyEgressAndAllowAllEgress) {
  apply("podSelector: {}\npolicyTypes:\n- Egress");
  EXPECT_FALSE(goes_out(db, "192.0.2.1", 80));
  EXPECT_FALSE(reaches(db, other, 80));
  EXPECT_TRUE(reaches(other, db, 80));
  apply("podSelector: {}\negress:\n- {}\npolicyTypes:\n- Egress");
  EXPECT_TRUE(goes_out(db, "192.0.2.1", 80));
}

TEST_F(Recipe, DenyAllBothWays) {
  apply("podSelector: {}\npolicyTypes:\n- Ingress\n- Egress");
  EXPECT_FALSE(reaches(front, db, 80));
  EXPECT_FALSE(goes_out(db, "192.0.2.1", 53, 17));
  EXPECT_TRUE(reaches(db, db, 80));  // a pod cannot shut itself out
}

TEST_F(Recipe, DenyAllTrafficToAnApplication) {
  apply("podSelector:\n  matchLabels:\n    role: db\ningress: []");
  EXPECT_FALSE(reaches(front, db, 80));
  EXPECT_TRUE(reaches(front, plain, 80));
}

TEST_F(Recipe, AllowFromANamespace) {
  apply(
      "podSelector: {}\ningress:\n- from:\n  - namespaceSelector:\n      matchLabels:\n        kubernetes.io/metadata.name: other");
  EXPECT_TRUE(reaches(other, db, 80));
  EXPECT_FALSE(reaches(front, db, 80));
  EXPECT_FALSE(reaches(project, db, 80));
}

TEST_F(Recipe, AllowFromAllNamespaces) {
  apply("podSelector: {}\ningress:\n- from:\n  - namespaceSelector: {}");
  EXPECT_TRUE(reaches(other, db, 80));
  EXPECT_TRUE(reaches(front, db, 80));
  EXPECT_FALSE(comes_in("192.0.2.1", db, 80));
}

TEST_F(Recipe, DenyOtherNamespaces) {
  apply("podSelector: {}\ningress:\n- from:\n  - podSelector: {}");
  EXPECT_TRUE(reaches(plain, db, 80));
  EXPECT_FALSE(reaches(project, db, 80));
  EXPECT_FALSE(comes_in("10.0.0.3", db, 80));
}

TEST_F(Recipe, BothSelectorsInOneItemAreBothNeeded) {
  apply(
      "podSelector: {}\ningress:\n- from:\n  - namespaceSelector:\n      matchLabels: {project: myproject}\n    podSelector:\n     "
      " matchLabels: {role: client}");
  EXPECT_FALSE(reaches(project, db, 80));
  EXPECT_FALSE(reaches(other, db, 80));
}

TEST_F(Recipe, SelectorsInTwoItemsAreAlternatives) {
  apply(
      "podSelector: {}\ningress:\n- from:\n  - namespaceSelector:\n      matchLabels: {project: myproject}\n  - podSelector:\n     "
      " matchLabels: {role: frontend}");
  EXPECT_TRUE(reaches(project, db, 80));
  EXPECT_TRUE(reaches(front, db, 80));
  EXPECT_FALSE(reaches(plain, db, 80));
  EXPECT_FALSE(reaches(other, db, 80));
}

TEST_F(Recipe, SeveralNamespacesByExpression) {
  apply(
      "podSelector: {}\ningress:\n- from:\n  - namespaceSelector:\n      matchExpressions:\n      - key: "
      "kubernetes.io/metadata.name\n        operator: In\n        values: [other, myproject]");
  EXPECT_TRUE(reaches(other, db, 80));
  EXPECT_TRUE(reaches(project, db, 80));
  EXPECT_FALSE(reaches(dns, db, 80));
}

TEST_F(Recipe, AllOperators) {
  apply(
      "podSelector:\n  matchExpressions:\n  - {key: role, operator: Exists}\n  - {key: role, operator: NotIn, values: "
      "[frontend]}\n  - {key: tier, operator: DoesNotExist}");
  EXPECT_FALSE(reaches(plain, db, 80));
  EXPECT_TRUE(reaches(plain, front, 80));
  EXPECT_TRUE(reaches(front, plain, 80));
}

TEST_F(Recipe, NotInSelectsWhatHasNotTheLabel) {
  apply("podSelector:\n  matchExpressions:\n  - {key: role, operator: NotIn, values: [frontend]}");
  EXPECT_FALSE(reaches(front, plain, 80));
  EXPECT_FALSE(reaches(front, db, 80));
  EXPECT_TRUE(reaches(db, front, 80));
}

TEST_F(Recipe, PortsAloneAreForEverybody) {
  apply("podSelector: {}\ningress:\n- ports:\n  - port: 443\n  - {protocol: UDP, port: 53}\n  - {protocol: SCTP}");
  EXPECT_TRUE(comes_in("192.0.2.1", db, 443));  // TCP is what a port is of
  EXPECT_FALSE(reaches(other, db, 443, 17));
  EXPECT_TRUE(reaches(other, db, 53, 17));
  EXPECT_FALSE(reaches(other, db, 53));
  EXPECT_TRUE(reaches(other, db, 7, 132));
  EXPECT_FALSE(reaches(other, db, 7));
}

TEST_F(Recipe, AProtocolWithoutAPortIsAllOfIt) {
  apply("podSelector: {}\ningress:\n- ports:\n  - port: 443\n  - protocol: TCP");
  EXPECT_TRUE(reaches(other, db, 1));
  EXPECT_FALSE(reaches(other, db, 1, 17));
}

TEST_F(Recipe, AnEmptyPortIsAllOfTcp) {
  apply("podSelector: {}\ningress:\n- ports:\n  - {}");
  EXPECT_TRUE(reaches(other, db, 1));
  EXPECT_FALSE(reaches(other, db, 1, 17));
}

TEST_F(Recipe, RangesOfPorts) {
  apply(
      "podSelector:\n  matchLabels:\n    role: db\npolicyTypes: [Egress]\negress:\n- to:\n  - ipBlock:\n      cidr: 10.0.0.0/24\n  "
      "ports:\n  - protocol: TCP\n    port: 32000\n    endPort: 32768");
  EXPECT_TRUE(goes_out(db, "10.0.0.77", 32000));
  EXPECT_TRUE(goes_out(db, "10.0.0.77", 32768));
  EXPECT_FALSE(goes_out(db, "10.0.0.77", 31999));
  EXPECT_FALSE(goes_out(db, "10.0.0.77", 32769));
}

TEST_F(Recipe, NamedPortsAreTheDestinations) {
  apply("podSelector: {}\ningress:\n- ports:\n  - port: http");
  EXPECT_TRUE(reaches(other, db, 8080));
  EXPECT_FALSE(reaches(other, db, 80));
  EXPECT_FALSE(reaches(other, db, 9100));
  apply("podSelector:\n  matchLabels: {role: db}\npolicyTypes: [Egress]\negress:\n- ports:\n  - {protocol: UDP, port: dns}");
  EXPECT_TRUE(reaches(db, dns, 53, 17));
  EXPECT_FALSE(goes_out(db, "192.0.2.1", 53, 17));  // which has no names
}

TEST_F(Recipe, EgressToNamesOnly) {
  apply(R"(podSelector:
  matchLabels: {role: frontend}
policyTypes: [Egress]
egress:
- to:
  - namespaceSelector: {}
    podSelector:
      matchLabels: {k8s-app: kube-dns}
  ports:
  - {protocol: UDP, port: 53}
  - {protocol: TCP, port: 53})");
  EXPECT_TRUE(reaches(front, dns, 53));
  EXPECT_TRUE(reaches(front, dns, 53, 17));
  EXPECT_FALSE(reaches(front, dns, 9153));
  EXPECT_FALSE(goes_out(front, "8.8.8.8", 53, 17));
  EXPECT_TRUE(reaches(db, front, 80));
}

TEST_F(Recipe, ExternalTrafficAlone) {
  apply("podSelector: {}\ningress:\n- from: []");
  EXPECT_TRUE(comes_in("192.0.2.1", db, 80));
  EXPECT_TRUE(reaches(other, db, 80));
}

TEST_F(Recipe, AnExceptionHoldsForItsOwnBlock) {
  apply(
      "podSelector: {}\ningress:\n- from:\n  - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}\n  - ipBlock: {cidr: "
      "192.0.2.200/32}\n  - ipBlock: {cidr: '2001:db8::/32'}");
  EXPECT_TRUE(comes_in("192.0.2.1", db, 80));
  EXPECT_FALSE(comes_in("192.0.2.129", db, 80));
  EXPECT_TRUE(comes_in("192.0.2.200", db, 80));
}

TEST_F(Recipe, PoliciesAddUp) {
  apply("podSelector: {}\ningress:\n- ports:\n  - port: 80");
  apply("podSelector:\n  matchLabels: {role: db}\ningress:\n- from:\n  - podSelector:\n      matchLabels: {role: frontend}");
  EXPECT_TRUE(reaches(other, db, 80));
  EXPECT_TRUE(reaches(front, db, 5432));
  EXPECT_FALSE(reaches(other, db, 5432));
}

TEST_F(Recipe, TypesDecideWhichRulesMean) {
  apply("podSelector: {}\npolicyTypes: [Egress]\ningress:\n- ports:\n  - port: 80");
  EXPECT_TRUE(comes_in("192.0.2.1", db, 22));
  EXPECT_FALSE(goes_out(db, "192.0.2.1", 80));
}

TEST(KubernetesDocuments, TypesByDefault) {
  const auto types = [](const std::string& spec) {
    auto policy = read(with_spec(spec));
    EXPECT_TRUE(policy.ok()) << spec << policy.error().message;
    return std::pair(policy->applies_ingress, policy->applies_egress);
  };
  EXPECT_EQ(types("podSelector: {}"), std::pair(true, false));
  EXPECT_EQ(types("podSelector: {}\negress: []"), std::pair(true, false));
  EXPECT_EQ(types("podSelector: {}\negress:\n- {}"), std::pair(true, true));
  EXPECT_EQ(types("podSelector: {}\npolicyTypes: []\negress:\n- {}"), std::pair(true, true));
  EXPECT_EQ(types("podSelector:\ningress:"), std::pair(true, false));
  auto bare = read("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\n  namespace: a");
  ASSERT_TRUE(bare.ok()) << bare.error().message;
  EXPECT_EQ(bare->scope, "a");
  EXPECT_TRUE(bare->applies_ingress);
}

TEST(KubernetesDocuments, TakesWhatTheServerGives) {
  auto policy = read(R"(apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: "{}"
  creationTimestamp: "2026-01-01T00:00:00Z"
  generation: 1
  labels:
    app.kubernetes.io/name: shop
  managedFields:
  - manager: kubectl
  name: allow.all
  namespace: shop
  resourceVersion: "1"
  uid: 0b5a
spec:
  podSelector: {}
  ingress:
  - from:
    - ipBlock:
        cidr: 10.1.2.3/8
status: {})");
  ASSERT_TRUE(policy.ok()) << policy.error().message;
  EXPECT_EQ(policy->name, "allow.all");
  EXPECT_EQ(policy->ingress[0].source.nets[0].to_string(), "10.0.0.0/8");  // host bits are the API's business
}

TEST(KubernetesDocuments, BadOnesAreToldWithTheirPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"podSelektor: {}", "/spec/podSelektor: there is no field 'podSelektor'; did you mean 'podSelector'?"},
      {"podSelector: all", "/spec/podSelector: must be an object"},
      {"podSelector:\n  role: db", "/spec/podSelector/role: there is no field 'role'"},
      {"podSelector:\n  matchLabels: {a: 1}", "/spec/podSelector/matchLabels/a: "},
      {"podSelector:\n  matchLabels: {\"a' || all()\": b}", "is no label key of Kubernetes"},
      {"podSelector:\n  matchLabels: {a: \"b' || has(c) || a == '\"}", "is no label value of Kubernetes"},
      {"podSelector:\n  matchExpressions:\n  - {key: a, operator: Is, values: [b]}",
       "/spec/podSelector/matchExpressions/0/operator: must be In, NotIn"},
      {"podSelector:\n  matchExpressions:\n  - {key: a, operator: In}", "/spec/podSelector/matchExpressions/0: In needs values"},
      {"podSelector:\n  matchExpressions:\n  - {key: a, operator: Exists, values: [b]}",
       "/spec/podSelector/matchExpressions/0: Exists takes no values"},
      {"podSelector: {}\npolicyTypes: [ingress]", "/spec/policyTypes/0: must be Ingress or Egress, not 'ingress'"},
      {"podSelector: {}\ningress: {}", "/spec/ingress: "},
      {"podSelector: {}\ningress:\n-", "/spec/ingress/0: must be an object"},
      {"podSelector: {}\ningress:\n- to: []", "/spec/ingress/0/to: there is no field 'to'"},
      {"podSelector: {}\ningress:\n- from:\n  - {}", "/spec/ingress/0/from/0: must have a podSelector"},
      {"podSelector: {}\ningress:\n- from: {}", "/spec/ingress/0/from: "},
      {"podSelector: {}\ningress:\n- from:\n  - {ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}",
       "/spec/ingress/0/from/0: ipBlock goes with no selector"},
      {"podSelector: {}\ningress:\n- from:\n  - ipBlock: {cidr: 10.0.0.1}",
       "/spec/ingress/0/from/0/ipBlock/cidr: '10.0.0.1' is no network"},
      {"podSelector: {}\ningress:\n- from:\n  - ipBlock: {}", "/spec/ingress/0/from/0/ipBlock/cidr: missing"},
      {"podSelector: {}\ningress:\n- from:\n  - ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/9]}",
       "/spec/ingress/0/from/0/ipBlock/except/0: must lie inside"},
      {"podSelector: {}\ningress:\n- from:\n  - ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}",
       "/spec/ingress/0/from/0/ipBlock/except/0: must lie inside"},
      {"podSelector: {}\ningress:\n- ports:\n  - {protocol: tcp}",
       "/spec/ingress/0/ports/0/protocol: must be TCP, UDP or SCTP, not 'tcp'"},
      {"podSelector: {}\ningress:\n- ports:\n  - {port: 0}", "/spec/ingress/0/ports/0/port: "},
      {"podSelector: {}\ningress:\n- ports:\n  - {port: '80'}", "/spec/ingress/0/ports/0/port: '80' is no name of a port"},
      {"podSelector: {}\ningress:\n- ports:\n  - {endPort: 80}", "/spec/ingress/0/ports/0/endPort: needs a port"},
      {"podSelector: {}\ningress:\n- ports:\n  - {port: http, endPort: 80}",
       "/spec/ingress/0/ports/0/endPort: needs a port that is a number"},
      {"podSelector: {}\ningress:\n- ports:\n  - {port: 80, endPort: 79}",
       "/spec/ingress/0/ports/0/endPort: must not be less than port"},
  };
  for (const auto& [spec, message] : cases) {
    auto policy = read(with_spec(spec));
    EXPECT_FALSE(policy.ok()) << spec;
    if (policy) continue;
    EXPECT_TRUE(policy.error().is(Code::invalid)) << spec;
    EXPECT_THAT(policy.error().message, HasSubstr(message)) << spec;
  }
}

TEST(KubernetesDocuments, Namespaces) {
  const auto read_it = [](const std::string& yaml) {
    const auto reading = yaml::read(yaml);
    return read_namespace(json::Document::parse(reading.documents.front().json())->root());
  };
  auto space = read_it(
      "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\n    team: a\nspec:\n  finalizers: "
      "[kubernetes]\nstatus: {phase: Active}");
  ASSERT_TRUE(space.ok()) << space.error().message;
  EXPECT_EQ(space->labels, (Labels{{"team", "a"}, {"kubernetes.io/metadata.name", "shop"}}));
  EXPECT_FALSE(read_it("apiVersion: v1\nkind: Namespace\nmetadata:\n  labels: {team: a}").ok());
  EXPECT_FALSE(read_it("apiVersion: v2\nkind: Namespace\nmetadata:\n  name: a").ok());
  EXPECT_FALSE(read_it("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels: {kubernetes.io/metadata.name: b}").ok());
}

}  // namespace
}  // namespace firn::policy
