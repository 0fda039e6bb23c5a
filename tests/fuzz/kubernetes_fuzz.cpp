// Any YAML as Kubernetes' documents: what is read is a record that is stored as it is, and policies decide about packets.
#include <cstdlib>
#include <string_view>

#include "lib/policy/check.hpp"
#include "lib/policy/evaluate.hpp"
#include "lib/policy/kubernetes.hpp"
#include "lib/yaml/yaml.hpp"

namespace {

using namespace firn;

template <class T, class Decode>
void stored_as_it_is(const Result<T>& record, Decode decode) {
  if (!record) {
    if (record.error().message.empty() || !record.error().is(Code::invalid)) std::abort();
    return;
  }
  const std::string text = encode(*record);
  auto again = decode(model::Source(text, true));
  if (!again || !(*again == *record)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  yaml::Limits limits;
  limits.values = 2000;
  const yaml::Reading reading = yaml::read(std::string_view(reinterpret_cast<const char*>(data), size), limits);
  for (const yaml::Document& document : reading.documents) {
    const auto json = json::Document::parse(document.json());
    if (!json) std::abort();
    stored_as_it_is(policy::read_namespace(json->root()), model::decode_namespace);
    const auto policy = policy::read_network_policy(json->root());
    stored_as_it_is(policy, model::decode_policy);
    if (!policy) continue;
    if (!policy::check_selectors(*policy)) std::abort();
    const auto rules = policy::Evaluator::make({*policy}, {}, {});
    if (!rules) std::abort();
    model::Endpoint endpoint;
    endpoint.pod_namespace = policy->scope;
    endpoint.labels = {{"role", "db"}};
    const policy::End here{Address::v4(0x0a000001), &endpoint, nullptr, "n1"}, there{Address::v4(0xc0000201), nullptr, nullptr, ""};
    const bool selected = !rules->selecting(policy::Direction::ingress, here).empty();
    const policy::Verdict verdict = rules->judge(there, here, {.protocol = 6, .destination_port = 80});
    if (!selected && !verdict.allowed()) std::abort();
    if (selected && verdict.allowed() && policy->ingress.empty()) std::abort();
  }
  return 0;
}
