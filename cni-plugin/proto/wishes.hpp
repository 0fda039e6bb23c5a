// What a runtime asks for one attachment, from the places where runtimes put it. Pure; hostile input: errors name the place.
#pragma once

#include "cni-plugin/proto/config.hpp"
#include "lib/json/json.hpp"

namespace firn::cni {

// Addresses: runtimeConfig.ips, else args.cni.ips, else IP of CNI_ARGS. MAC: runtimeConfig.mac, else MAC of CNI_ARGS.
Outcome<Wishes> parse_wishes(const json::Value& root, const Environment& environment);

}  // namespace firn::cni
