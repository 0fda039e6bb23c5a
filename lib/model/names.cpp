#include "lib/model/names.hpp"

#include <string>

namespace firn::model {

namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

bool is_domain_like(std::string_view name) {
  if (name.empty() || name.front() == '.' || name.front() == '-' || name.back() == '.' || name.back() == '-') return false;
  for (const char c : name) {
    if (!lower(c) && !digit(c) && c != '.' && c != '-') return false;
  }
  return true;
}

Error bad_name(std::string_view what, std::string_view name, std::string_view rule) {
  std::string text(what);
  text.append(" '").append(name.substr(0, 64)).append("' ").append(rule);
  return make_error(Code::invalid, std::move(text));
}

}  // namespace

Status check_object_name(std::string_view what, std::string_view name) {
  if (name.size() <= 63 && is_domain_like(name)) return {};
  return bad_name(what, name, "must be 1 to 63 of a-z 0-9 . - and begin and end with a letter or digit");
}

Status check_long_name(std::string_view what, std::string_view name) {
  if (name.size() <= 253 && is_domain_like(name)) return {};
  return bad_name(what, name, "must be 1 to 253 of a-z 0-9 . - and begin and end with a letter or digit");
}

Status check_peer_name(std::string_view name) {
  bool good = !name.empty() && name.size() <= 48 && lower(name.front());
  for (const char c : name) good = good && (lower(c) || digit(c) || c == '-');
  if (good) return {};
  return bad_name("peer name", name, "must be 1 to 48 of a-z 0-9 - and begin with a letter");
}

Status check_cni_name(std::string_view what, std::string_view name) {
  bool good = !name.empty() && name.size() <= 200 && (lower(name.front()) || upper(name.front()) || digit(name.front()));
  for (const char c : name) good = good && (lower(c) || upper(c) || digit(c) || c == '_' || c == '.' || c == '-');
  if (good) return {};
  return bad_name(what, name, "must be 1 to 200 of a-z A-Z 0-9 _ . - and begin with a letter or digit");
}

}  // namespace firn::model
