#include "lib/base/result.hpp"

#include <cstring>

namespace firn {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::invalid: return "invalid";
    case Code::not_found: return "not found";
    case Code::exists: return "exists";
    case Code::conflict: return "conflict";
    case Code::exhausted: return "exhausted";
    case Code::denied: return "denied";
    case Code::unavailable: return "unavailable";
    case Code::interrupted: return "interrupted";
    case Code::unsupported: return "unsupported";
    case Code::io: return "io";
  }
  return "unknown";
}

Error&& Error::context(std::string_view what) && {
  std::string text;
  text.reserve(what.size() + 2 + message.size());
  text.append(what).append(": ").append(message);
  message = std::move(text);
  return std::move(*this);
}

namespace {

Code code_of(int err) {
  switch (err) {
    case ENOENT:
    case ESRCH:
    case ENODEV:
    case ENXIO: return Code::not_found;
    case EEXIST: return Code::exists;
    case EPERM:
    case EACCES:
    case EROFS: return Code::denied;
    case EINVAL:
    case ENAMETOOLONG:
    case ERANGE: return Code::invalid;
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return Code::exhausted;
    case EAGAIN:
    case EBUSY:
    case ETIMEDOUT:
    case ECONNREFUSED: return Code::unavailable;
    case EINTR:
    case ENOBUFS: return Code::interrupted;
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
    case ENOSYS: return Code::unsupported;
    default: return Code::io;
  }
}

}  // namespace

Error errno_error(std::string_view what, int err) {
  std::string text(what);
  text.append(": ").append(std::strerror(err));
  return Error{code_of(err), std::move(text), err};
}

}  // namespace firn
