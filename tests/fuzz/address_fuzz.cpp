// Addresses, prefixes, MACs, interface names: what parses prints to a text that parses to the same value.
#include <cstdlib>
#include <string_view>

#include "lib/addr/addr.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

template <class T>
void round_trip(std::string_view text) {
  auto value = T::parse(text);
  if (!value) return;
  auto again = T::parse(value->to_string());
  require(again.ok() && *again == *value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  round_trip<firn::Address>(text);
  round_trip<firn::InterfaceAddress>(text);
  round_trip<firn::Mac>(text);
  if (auto name = firn::IfName::parse(text)) require(name->str() == text && name->str().find('/') == std::string::npos);
  if (auto prefix = firn::Prefix::parse(text)) {
    require(prefix->contains(prefix->address()) && prefix->contains(prefix->last()) && prefix->contains(*prefix));
    require(*firn::Prefix::parse(prefix->to_string()) == *prefix);
    require(prefix->at(prefix->offset_of(prefix->last())) == prefix->last());
  }
  return 0;
}
