// Result<T>: a value or an Error. No exception crosses a room; every fallible call returns one of these.
// Owns nothing in the world. Thread safety: plain values, like int.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace firn {

// The closed set of reasons. Callers branch on these (or on the predicates below), never on text.
enum class Code {
  invalid,      // the caller's input is wrong; the message names the place in it
  not_found,    // the object does not exist
  exists,       // the object exists already, or a rule forbids a second one
  conflict,     // somebody else changed it, or it overlaps with somebody else's object
  exhausted,    // no address, no block, no space left
  denied,       // permission, or an identity that may not do this
  unavailable,  // a daemon, store or file cannot be reached now; trying again may help
  interrupted,  // a dump or an event stream lost something: list again
  unsupported,  // the kernel or program lacks what is asked
  io,           // any other failure of the operating system
};

std::string_view to_string(Code code);

struct Error {
  Code code = Code::io;
  std::string message;  // what was being done to which object, what went wrong, what to try
  int sys = 0;          // errno behind it, 0 when there is none

  bool is(Code c) const { return code == c; }
  // Puts "what: " in front of the message. Each room adds its context once.
  Error&& context(std::string_view what) &&;
};

inline Error make_error(Code code, std::string message) { return Error{code, std::move(message), 0}; }
// An Error from an errno value: "what: strerror". The code follows the errno (ENOENT: not_found, EPERM: denied ...).
Error errno_error(std::string_view what, int err = errno);

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}      // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // REQUIRES: ok().
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  // By value: a reference into a temporary would dangle in `for (x : f().value())`.
  T value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // REQUIRES: !ok().
  Error& error() & { return *std::get_if<1>(&state_); }
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  Error& error() & { return *std::get_if<1>(&state_); }
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<std::monostate, Error> state_;
};

using Status = Result<void>;

}  // namespace firn
