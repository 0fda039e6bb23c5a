#include "cni-plugin/proto/fault.hpp"

#include <algorithm>

#include "lib/json/json.hpp"

namespace firn::cni {

Fault config_fault(const Error& error) { return fault(FaultCode::invalid_config, error.message); }

Fault environment_fault(std::string_view variable, const Error& error) {
  return fault(FaultCode::invalid_environment, std::string(variable) + ": " + error.message);
}

Fault kernel_fault(const Error& error) {
  switch (error.code) {
    case Code::denied:
      return fault(FaultCode::denied, error.message, "run the plugin as root, with CAP_NET_ADMIN and CAP_SYS_ADMIN");
    case Code::unavailable:
    case Code::interrupted: return fault(FaultCode::try_again, error.message);
    default: return fault(FaultCode::kernel, error.message);
  }
}

Fault state_fault(const Error& error) {
  switch (error.code) {
    case Code::unavailable: return fault(FaultCode::try_again, error.message, "another process holds the store; try again");
    case Code::denied: return fault(FaultCode::denied, error.message, "the state directory must be writable for root");
    default: return fault(FaultCode::state, error.message, "see 'firnctl ipam check', or move the state with \"stateDir\"");
  }
}

Fault lease_fault(const Error& error) {
  switch (error.code) {
    case Code::exhausted:
      return fault(FaultCode::try_again, error.message, "remove containers, or give the network a larger subnet or another pool");
    case Code::conflict:
      return fault(FaultCode::address_conflict, error.message, "'firnctl endpoint show' tells more of the holder");
    case Code::invalid: return fault(FaultCode::invalid_config, error.message);
    case Code::not_found:
      return fault(FaultCode::invalid_config, error.message, "'firnctl pool list' shows the pools; \"ipam.subnet\" needs none");
    case Code::denied: return fault(FaultCode::invalid_config, error.message);
    case Code::unavailable: return fault(FaultCode::try_again, error.message, "see 'firnctl status', then try again");
    case Code::exists: return fault(FaultCode::exists, error.message, "DEL it first");
    default: return state_fault(error);
  }
}

std::string error_json(const Fault& fault, std::string_view version) {
  json::Writer w;
  w.begin_object();
  w.field("cniVersion", version).field("code", static_cast<unsigned>(fault.code)).field("msg", fault.message);
  w.field_if("details", fault.details);
  return std::move(w.end_object()).take();
}

std::optional<Fault> parse_error_json(std::string_view text) {
  auto document = json::Document::parse(text);
  if (!document) return std::nullopt;
  const json::Value root = document->root();
  auto code = root["code"].integer(1, 1 << 20);
  auto message = root["msg"].string();
  auto details = root["details"].string_or("");
  if (!code || !message) return std::nullopt;
  return fault(static_cast<FaultCode>(*code), *message, details ? *details : "");
}

}  // namespace firn::cni
