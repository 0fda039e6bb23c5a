// Element bytes: a transaction that changes elements and nothing else, in the form that the kernel takes, so that firn-nft need not
// ask libnftables, which reads every chain and set of the kernel before it runs a text. A new container, a label that changes, a
// published port are such. The form is told in firn_nft/elements.hpp. Pure; thread safety: plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "routed/nft/wish.hpp"

namespace firn::routed::nft {

class ElementBytes {
 public:
  explicit ElementBytes(const std::string& table);
  // False: this set, key or data has no such form (intervals, other types); the whole is then none.
  bool remove(const Set& set, const ElementKey& key);
  bool add(const Set& set, const ElementKey& key, const std::string& data);
  std::string take() { return std::move(out_); }

 private:
  bool put(char what, const Set& set, const ElementKey& key, const std::string* data);
  std::string out_;
};

// "10.44.0.7 . 80" of the type "ipv4_addr . inet_service" as the kernel keeps it: each part in network order, padded to four bytes
// where there are several.
std::optional<std::string> bytes_of(std::string_view type, std::string_view text);

}  // namespace firn::routed::nft
