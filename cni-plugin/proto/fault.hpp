// What a CNI plugin answers when it cannot do what was asked: a code of the CNI spec or one of ours, a message that names the
// field or the object, and a hint. docs/cni.md lists the codes. Pure; thread safety: plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "lib/base/result.hpp"

namespace firn::cni {

enum class FaultCode : unsigned {
  incompatible_version = 1,
  unsupported_field = 2,
  unknown_container = 3,
  invalid_environment = 4,
  io = 5,
  undecodable = 6,
  invalid_config = 7,
  try_again = 11,
  not_available = 50,
  limited_connectivity = 51,
  kernel = 100,            // netlink or /proc/sys refused something
  address_conflict = 101,  // an address that was asked for by name, or a port, is held by another
  state = 102,             // the state directory cannot be read or written
  differs = 103,           // CHECK: the kernel or the lease is not what ADD made
  delegate = 104,          // the IPAM plugin could not be run, or answered nonsense
  exists = 105,            // the attachment exists already, and is not what this ADD would make
  denied = 106,            // a permission is missing
};

struct Fault {
  FaultCode code = FaultCode::io;
  std::string message;
  std::string details = {};  // what to try
};

inline Fault fault(FaultCode code, std::string message, std::string details = {}) {
  return Fault{code, std::move(message), std::move(details)};
}

// Result<T> with a Fault instead of an Error.
template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Outcome(Fault problem) : state_(std::in_place_index<1>, std::move(problem)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // REQUIRES: ok().
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  // REQUIRES: !ok().
  Fault& fault() & { return *std::get_if<1>(&state_); }
  const Fault& fault() const& { return *std::get_if<1>(&state_); }
  Fault&& fault() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Fault> state_;
};

struct Done {};
using Answer = Outcome<Done>;

// Errors of the rooms below, by where they come from.
Fault config_fault(const Error& error);  // of a field of the configuration
Fault environment_fault(std::string_view variable, const Error& error);
Fault kernel_fault(const Error& error);  // of lib/netlink and lib/endpoint
Fault state_fault(const Error& error);   // of the node store
Fault lease_fault(const Error& error);   // of the allocator

// {"cniVersion":..,"code":..,"msg":..,"details":..}
std::string error_json(const Fault& fault, std::string_view version);
// Errors of another plugin: nothing when the text is no error object.
std::optional<Fault> parse_error_json(std::string_view text);

}  // namespace firn::cni
