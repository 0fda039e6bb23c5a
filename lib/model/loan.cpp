#include "lib/model/loan.hpp"

#include "lib/model/codec.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/names.hpp"

namespace firn::model {

std::string encode(const Ask& ask) {
  json::Writer w = begin_record();
  w.field("lender", ask.lender).field("borrower", ask.borrower).field("pool", ask.pool).field("generation", ask.generation);
  return std::move(w.end_object()).take();
}

Result<Ask> decode_ask(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Ask ask;
    ask.lender = f.text("lender");
    ask.borrower = f.text("borrower");
    ask.pool = f.text("pool");
    ask.generation = static_cast<uint64_t>(f.number("generation", 0, INT64_MAX));
    require_name(f, check_object_name("/lender:", ask.lender));
    require_name(f, check_object_name("/borrower:", ask.borrower));
    require_name(f, check_object_name("/pool:", ask.pool));
    return f.finish(std::move(ask));
  });
}

std::string encode(const Lent& lent) {
  json::Writer w = begin_record();
  w.field("address", lent.address.to_string()).field("pool", lent.pool).field("borrower", lent.borrower);
  return std::move(w.end_object()).take();
}

Result<Lent> decode_lent(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Lent lent;
    lent.address = f.address("address");
    lent.pool = f.text("pool");
    lent.borrower = f.text("borrower");
    require_name(f, check_object_name("/pool:", lent.pool));
    return f.finish(std::move(lent));
  });
}

namespace keys {

std::string lent_address(const Address& address) { return std::string(lent) + address_key(address); }
std::string asks_of(std::string_view lender) { return std::string("ask/").append(lender).append("/"); }
std::string ask(const Ask& ask) { return asks_of(ask.lender) + ask.borrower + "/" + ask.pool; }
std::string returns_to(std::string_view lender) { return std::string("back/").append(lender).append("/"); }
std::string return_of(std::string_view lender, const Address& address) { return returns_to(lender) + address_key(address); }

}  // namespace keys
}  // namespace firn::model
