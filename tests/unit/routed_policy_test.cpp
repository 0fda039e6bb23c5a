// Policy compute: from policies, namespaces and endpoints to the wishes for firn's table. What the rules then do is shown by
// tests/policy against the kernel; here is how little changes, and that nothing opens by a slip.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "routed/policy/compute.hpp"
#include "routed/policy/forbidden.hpp"

namespace firn::routed::policy {
namespace {

Address address(std::string_view text) { return *Address::parse(text); }

model::Endpoint container(const std::string& interface, const std::string& ip, std::map<std::string, std::string> labels,
                          const std::string& space = "default") {
  model::Endpoint out;
  out.pod_namespace = space;
  out.host_ifname = interface;
  out.mac = *Mac::parse("02:00:00:00:00:01");
  out.addresses = {address(ip)};
  out.labels = std::move(labels);
  return out;
}

model::PolicyRule allow_from(const std::string& selector, uint16_t port) {
  model::PolicyRule out;
  out.protocol = 6;
  out.source.selector = selector;
  out.destination.ports = {{port, port, {}}};
  return out;
}

model::Policy web_policy(uint16_t port = 80) {
  model::Policy out;
  out.scope = "default";
  out.name = "web";
  out.selector = "app == 'web'";
  out.applies_ingress = true;
  out.ingress = {allow_from("app == 'client'", port)};
  return out;
}

std::string key_of(const model::Policy& policy) { return model::keys::policy(policy.scope, policy.name); }

// Keeps what is wished for, as the table does.
struct Wish {
  std::map<std::string, nft::Set> sets;
  std::map<std::string, nft::Chain> chains;
  std::map<nft::ElementKey, std::string> elements;

  nft::Changes take(Compute& compute) {
    nft::Changes changes;
    compute.take_changes(changes);
    const auto put = [](auto& all, const auto& part) {
      for (const auto& [key, wish] : part) {
        if (wish) all[key] = *wish;
        else all.erase(key);
      }
    };
    put(sets, changes.sets);
    put(chains, changes.chains);
    put(elements, changes.elements);
    return changes;
  }
  std::string element(const std::string& set, const std::string& key) const {
    const auto it = elements.find({set, key});
    return it == elements.end() ? "none" : it->second;
  }
  std::string profile(const std::string& set, const std::string& interface) const {
    const std::string verdict = element(set, "\"" + interface + "\"");
    return verdict.starts_with("goto ") ? verdict.substr(5) : verdict;
  }
  // The rules that packets to or from the interface meet, with what sets hold in place of their names: two wishes that do the
  // same read the same.
  std::string told(const std::string& set, const std::string& interface) const {
    const auto chain = chains.find(profile(set, interface));
    if (chain == chains.end()) return profile(set, interface);
    std::string out;
    for (const std::string& rule : chain->second.rules) {
      const auto inner = rule.starts_with("jump ") ? chains.find(rule.substr(5)) : chains.end();
      if (inner == chains.end()) out += rule + "\n";
      else
        for (const std::string& text : inner->second.rules) out += with_members(text) + "\n";
    }
    return out;
  }
  std::string with_members(std::string text) const {
    const std::string head = "numgen inc mod 1 offset ";
    for (size_t at = text.find(head); at != std::string::npos; at = text.find(head)) {
      const size_t dot = text.find(" . ", at), mark = text.find('@', at), end = text.find(' ', mark);
      const std::string number = text.substr(at + head.size(), dot - at - head.size());
      std::string members = text.substr(dot + 3, mark - dot - 3) + "{";
      for (const auto& [key, value] : elements) {
        if (key.set == text.substr(mark + 1, end - mark - 1) && key.key.starts_with(number + " . ")) {
          members += " " + key.key.substr(number.size() + 3);
        }
      }
      text.replace(at, end - at, members + " }");
    }
    return text;
  }
};

TEST(PolicyCompute, AnEndpointWithoutPoliciesIsOpenAndGuarded) {
  Compute compute;
  Wish wish;
  const auto web = container("f1", "10.44.0.1", {});
  compute.set_endpoint("a", &web, true);
  wish.take(compute);
  EXPECT_EQ(wish.element("ingress", "\"f1\""), "accept");
  EXPECT_EQ(wish.element("egress", "\"f1\""), "accept");
  EXPECT_EQ(wish.element("guard4", "\"f1\" . 02:00:00:00:00:01 . 10.44.0.1"), "");
  for (const auto& key : compute.elements_of("a")) EXPECT_TRUE(wish.elements.contains(key)) << key.set;
  EXPECT_TRUE(compute.elements_of("other").empty());

  compute.set_endpoint("a", nullptr, true);
  wish.take(compute);
  EXPECT_TRUE(wish.elements.empty());
}

TEST(PolicyCompute, DefaultDenyShutsWhomNoPolicySelects) {
  Compute compute;
  Wish wish;
  const auto web = container("f1", "10.44.0.1", {});
  compute.set_endpoint("a", &web, true);
  model::PolicySettings settings;
  settings.default_deny = true;
  compute.set_settings(settings);
  wish.take(compute);
  EXPECT_EQ(wish.element("ingress", "\"f1\""), "drop");
}

TEST(PolicyCompute, APolicySelectsInItsDirectionAlone) {
  Compute compute;
  Wish wish;
  const auto web = container("f1", "10.44.0.1", {{"app", "web"}}), client = container("f2", "10.44.0.2", {{"app", "client"}});
  const auto policy = web_policy();
  compute.set_endpoint("web", &web, true);
  compute.set_endpoint("client", &client, true);
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  wish.take(compute);
  EXPECT_EQ(wish.element("egress", "\"f1\""), "accept");
  EXPECT_EQ(wish.told("ingress", "f2"), "accept");
  EXPECT_EQ(wish.told("ingress", "f1"),
            "ip saddr { 10.44.0.2 } meta l4proto 6 th dport 80 counter accept comment \"NetworkPolicy default/web in 1\"\n"
            "ip6 saddr { } meta l4proto 6 th dport 80 counter accept comment \"NetworkPolicy default/web in 1\"\n"
            "counter drop comment \"no rule allowed it\"\n");
}

TEST(PolicyCompute, AnEndpointThatComesIsElementsAlone) {
  Compute compute;
  Wish wish;
  const auto policy = web_policy();
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  for (int i = 1; i <= 3; ++i) {
    const auto web = container("w" + std::to_string(i), "10.44.0." + std::to_string(i), {{"app", "web"}});
    compute.set_endpoint("w" + std::to_string(i), &web, true);
    const auto changes = wish.take(compute);
    if (i == 1) continue;
    EXPECT_TRUE(changes.chains.empty() && changes.sets.empty());
    EXPECT_EQ(changes.elements.size(), 3U);
  }
  // One of another host, which a rule means.
  const auto client = container("", "10.45.0.1", {{"app", "client"}});
  compute.set_endpoint("published/b/c", &client, false);
  const auto changes = wish.take(compute);
  EXPECT_TRUE(changes.chains.empty() && changes.sets.empty());
  ASSERT_EQ(changes.elements.size(), 1U);
  EXPECT_TRUE(changes.elements.begin()->first.key.ends_with(" . 10.45.0.1"));
  // And one that no rule means.
  const auto other = container("", "10.45.0.2", {{"app", "other"}});
  compute.set_endpoint("published/b/d", &other, false);
  EXPECT_TRUE(wish.take(compute).empty());
}

TEST(PolicyCompute, APolicyThatChangesIsItsOwnChainAlone) {
  Compute compute;
  Wish wish;
  const auto web = container("f1", "10.44.0.1", {{"app", "web"}});
  compute.set_endpoint("web", &web, true);
  auto policy = web_policy();
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  wish.take(compute);
  policy = web_policy(443);
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  const auto changes = wish.take(compute);
  ASSERT_EQ(changes.chains.size(), 1U);
  EXPECT_EQ(changes.chains.begin()->first, "np/default/web/in");
  EXPECT_TRUE(changes.sets.empty() && changes.elements.empty());
  // The same once more is nothing.
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  EXPECT_TRUE(wish.take(compute).empty());
}

TEST(PolicyCompute, PoliciesThatSelectNobodyHereAreNotInTheTable) {
  Compute compute;
  Wish wish;
  const auto base = [&] { return wish.take(compute), wish.chains.size(); }();
  const auto policy = web_policy();
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  const auto elsewhere = container("", "10.45.0.1", {{"app", "web"}});
  compute.set_endpoint("published/b/w", &elsewhere, false);
  wish.take(compute);
  EXPECT_EQ(wish.chains.size(), base);
  const auto web = container("f1", "10.44.0.1", {{"app", "web"}});
  compute.set_endpoint("web", &web, true);
  wish.take(compute);
  EXPECT_EQ(wish.chains.size(), base + 2);
  compute.set_endpoint("web", nullptr, true);
  wish.take(compute);
  EXPECT_EQ(wish.chains.size(), base);
  EXPECT_FALSE(std::ranges::any_of(wish.elements, [](const auto& element) { return element.first.set == "members4"; }));
}

TEST(PolicyCompute, APolicyThatCannotBeReadDeniesOrStaysWhatItWas) {
  Compute compute;
  Wish wish;
  const auto web = container("f1", "10.44.0.1", {{"app", "web"}}), other = container("f2", "10.44.0.2", {}, "other");
  compute.set_endpoint("web", &web, true);
  compute.set_endpoint("other", &other, true);
  auto policy = web_policy();
  policy.selector = "app == ";
  const auto refused = compute.set_policy(key_of(policy), &policy);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("NetworkPolicy default/web"), std::string::npos) << refused.error().message;
  wish.take(compute);
  EXPECT_EQ(wish.told("ingress", "f1"), "counter drop comment \"no rule allowed it\"\n");
  EXPECT_EQ(wish.told("egress", "f1"), "counter drop comment \"no rule allowed it\"\n");
  EXPECT_EQ(wish.told("ingress", "f2"), "accept");

  policy = web_policy();
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  wish.take(compute);
  const std::string good = wish.told("ingress", "f1");
  EXPECT_EQ(wish.told("egress", "f1"), "accept");
  policy.ingress[0].source.selector = "(";
  ASSERT_FALSE(compute.set_policy(key_of(policy), &policy));
  compute.set_unreadable_policy(key_of(policy));
  wish.take(compute);
  EXPECT_EQ(wish.told("ingress", "f1"), good);
}

TEST(PolicyCompute, NamesThatAreTooLongForNftablesAreCutAndStayApart) {
  Compute compute;
  Wish wish;
  const auto web = container("f1", "10.44.0.1", {{"app", "web"}});
  compute.set_endpoint("web", &web, true);
  for (const char* end : {"a", "b"}) {
    auto policy = web_policy();
    policy.name = std::string(252, 'x') + end;  // as long as Kubernetes lets them be
    ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  }
  wish.take(compute);
  size_t of_policies = 0;
  for (const auto& [name, chain] : wish.chains) {
    EXPECT_LT(name.size(), 256U);
    of_policies += name.starts_with("np/") ? 1 : 0;
  }
  EXPECT_EQ(of_policies, 2U);
}

TEST(PolicyCompute, AnAddressThatTwoRecordsHoldStaysUntilBothHaveGone) {
  Compute compute;
  Wish wish;
  const auto web = container("f1", "10.44.0.1", {{"app", "web"}}), client = container("", "10.45.0.1", {{"app", "client"}});
  compute.set_endpoint("web", &web, true);
  const auto policy = web_policy();
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  compute.set_endpoint("published/b/old", &client, false);
  compute.set_endpoint("published/c/new", &client, false);
  compute.set_endpoint("published/b/old", nullptr, false);
  wish.take(compute);
  EXPECT_NE(wish.told("ingress", "f1").find("{ 10.45.0.1 }"), std::string::npos) << wish.told("ingress", "f1");
  compute.set_endpoint("published/c/new", nullptr, false);
  wish.take(compute);
  EXPECT_NE(wish.told("ingress", "f1").find("ip saddr { }"), std::string::npos);
}

TEST(PolicyCompute, HostEndpointsHaveHooksWhileThereAreSome) {
  Compute compute;
  Wish wish;
  model::HostEndpoint uplink{"uplink", "a", "eth0", {{"role", "uplink"}}}, rest{"rest", "a", "*", {{"role", "rest"}}};
  model::Policy policy;
  policy.name = "hosts";
  policy.selector = "has(role)";
  policy.applies_ingress = true;
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  compute.set_host_endpoint("hostendpoint/a/uplink", &uplink);
  wish.take(compute);
  ASSERT_TRUE(wish.chains.contains("host_input"));
  EXPECT_TRUE(wish.profile("host_in", "eth0").starts_with("to."));
  EXPECT_EQ(wish.element("host_out", "\"eth0\""), "accept");
  EXPECT_NE(std::ranges::find(wish.chains["host_input"].rules, "tcp dport { 22, 179, 2379-2380 } accept"),
            wish.chains["host_input"].rules.end());
  compute.set_host_endpoint("hostendpoint/a/rest", &rest);
  wish.take(compute);
  EXPECT_TRUE(wish.chains["host_input"].rules.back().starts_with("goto to.")) << wish.chains["host_input"].rules.back();
  compute.set_host_endpoint("hostendpoint/a/rest", nullptr);
  wish.take(compute);
  EXPECT_EQ(wish.chains["host_input"].rules.back(), "iifname vmap @host_in");
  compute.set_host_endpoint("hostendpoint/a/uplink", nullptr);
  wish.take(compute);
  EXPECT_FALSE(wish.chains.contains("host_input"));
}

// Whatever the order and the history, the same inputs give the same rules.
TEST(PolicyCompute, TheWishDoesNotDependOnTheOrder) {
  std::mt19937 random(7);
  const auto number = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
  const char* apps[] = {"web", "client", "db"};
  for (int trial = 0; trial < 40; ++trial) {
    std::map<std::string, model::Endpoint> endpoints;
    std::map<std::string, model::Policy> policies;
    Compute lived;
    Wish lived_wish;
    for (int step = 0; step < 60; ++step) {
      const std::string id = std::to_string(number(5));
      if (number(1) == 0) {
        const bool here = id < "3";
        const auto endpoint =
            container(here ? "f" + id : "", "10.44.0." + id, {{"app", apps[number(2)]}}, number(1) ? "default" : "blue");
        const bool gone = number(4) == 0;
        lived.set_endpoint(id, gone ? nullptr : &endpoint, here);
        if (gone) endpoints.erase(id);
        else endpoints[id] = endpoint;
      } else {
        model::Policy policy = web_policy(static_cast<uint16_t>(80 + number(1)));
        policy.name = "p" + id;
        policy.order = number(2);
        policy.selector = std::string("app == '") + apps[number(2)] + "'";
        if (number(3) == 0) policy.ingress[0].action = model::PolicyAction::pass;
        const bool gone = number(4) == 0;
        ASSERT_TRUE(lived.set_policy(key_of(policy), gone ? nullptr : &policy));
        if (gone) policies.erase(key_of(policy));
        else policies[key_of(policy)] = policy;
      }
      if (number(3) == 0) lived_wish.take(lived);
    }
    lived_wish.take(lived);
    Compute fresh;
    Wish fresh_wish;
    for (const auto& [key, policy] : policies) ASSERT_TRUE(fresh.set_policy(key, &policy));
    for (const auto& [id, endpoint] : endpoints) fresh.set_endpoint(id, &endpoint, !endpoint.host_ifname.empty());
    fresh_wish.take(fresh);
    for (const auto& [id, endpoint] : endpoints) {
      if (endpoint.host_ifname.empty()) continue;
      EXPECT_EQ(lived_wish.told("ingress", endpoint.host_ifname), fresh_wish.told("ingress", endpoint.host_ifname)) << trial;
      EXPECT_EQ(lived_wish.told("egress", endpoint.host_ifname), fresh_wish.told("egress", endpoint.host_ifname)) << trial;
    }
    EXPECT_EQ(lived_wish.chains.size(), fresh_wish.chains.size());
    EXPECT_EQ(lived_wish.sets.size(), fresh_wish.sets.size());
    EXPECT_EQ(lived_wish.elements.size(), fresh_wish.elements.size());
  }
}

netlink::Flow flow(const std::string& from, const std::string& to, uint16_t port) {
  netlink::Flow out;
  out.original = {address(from), address(to), 6, 40000, port, 0, 0, 0};
  out.real = out.original;
  return out;
}

TEST(Forbidden, AFlowThatAChangedPolicyForbidsIsNamed) {
  Compute compute;
  const auto web = container("f1", "10.44.0.1", {{"app", "web"}}), client = container("f2", "10.44.0.2", {{"app", "client"}});
  compute.set_endpoint("web", &web, true);
  compute.set_endpoint("client", &client, true);
  EXPECT_FALSE(compute.may_forbid());
  const auto policy = web_policy();
  ASSERT_TRUE(compute.set_policy(key_of(policy), &policy));
  EXPECT_TRUE(compute.may_forbid());
  const std::vector<netlink::Flow> flows = {
      flow("10.44.0.2", "10.44.0.1", 80),    // allowed
      flow("10.44.0.2", "10.44.0.1", 443),   // no rule
      flow("192.0.2.9", "10.44.0.1", 80),    // not the client
      flow("10.44.0.254", "10.44.0.1", 80),  // the host itself
      flow("10.44.0.1", "10.44.0.2", 443),   // nobody selects the client
      flow("192.0.2.9", "192.0.2.10", 80),   // nobody's business
      flow("192.0.2.9", "10.44.0.77", 80),   // of a container that has gone
  };
  FlowView view;
  std::set<Address> all;
  for (const auto& one : flows) all.insert({one.real.source, one.real.destination});
  view.holders = compute.holders(all);
  view.here = compute.addresses_here();
  view.own = {address("10.44.0.254")};
  view.gone = {address("10.44.0.77")};
  const auto evaluator = compute.evaluator();
  ASSERT_TRUE(evaluator) << evaluator.error().message;
  EXPECT_EQ(forbidden(flows, *evaluator, view), (std::vector<size_t>{1, 2, 6}));
}

}  // namespace
}  // namespace firn::routed::policy
