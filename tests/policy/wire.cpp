#include "tests/policy/wire.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "lib/netlink/types.hpp"

namespace firn::test {

namespace {

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::abort();
}

void put(std::string& out, uint16_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value & 0xff));
}
void put(std::string& out, uint32_t value) {
  put(out, static_cast<uint16_t>(value >> 16));
  put(out, static_cast<uint16_t>(value & 0xffff));
}
void put(std::string& out, const Address& address) { out.append(reinterpret_cast<const char*>(address.bytes()), address.size()); }

uint32_t sum(const std::string& bytes, uint32_t start = 0) {
  for (size_t i = 0; i < bytes.size(); i += 2) {
    const auto high = static_cast<uint32_t>(static_cast<uint8_t>(bytes[i]));
    const uint32_t low = i + 1 < bytes.size() ? static_cast<uint8_t>(bytes[i + 1]) : 0;
    start += high << 8 | low;
  }
  return start;
}
uint16_t fold(uint32_t value) {
  while (value >> 16 != 0) value = (value & 0xffff) + (value >> 16);
  return static_cast<uint16_t>(~value);
}
void patch(std::string& out, size_t at, uint16_t value) {
  out[at] = static_cast<char>(value >> 8);
  out[at + 1] = static_cast<char>(value & 0xff);
}

// What is behind the IP header, with a serial at its end by which it is known again.
std::string payload_of(const Packet& p, uint32_t serial) {
  std::string out;
  size_t checksum = 0;
  bool pseudo = true;
  switch (p.protocol) {
    case 6:
      put(out, p.source_port), put(out, p.destination_port), put(out, serial), put(out, uint32_t{0});
      put(out, uint16_t{0x5002}), put(out, uint16_t{1024});  // SYN
      checksum = out.size();
      put(out, uint32_t{0});
      break;
    case 17:
      put(out, p.source_port), put(out, p.destination_port), put(out, uint16_t{12});
      checksum = out.size();
      put(out, uint16_t{0});
      break;
    case 132:  // INIT, whose checksum nobody looks at on this way
      put(out, p.source_port), put(out, p.destination_port), put(out, uint32_t{0}), put(out, uint32_t{0});
      put(out, uint16_t{0x0100}), put(out, uint16_t{20}), put(out, serial), put(out, uint32_t{4096}),
          put(out, uint32_t{0x00010001}), put(out, serial);
      break;
    case 1:
    case 58:
      out.push_back(static_cast<char>(p.icmp_type)), out.push_back(static_cast<char>(p.icmp_code));
      checksum = out.size();
      put(out, uint16_t{0}), put(out, static_cast<uint16_t>(serial >> 16)), put(out, static_cast<uint16_t>(serial));
      pseudo = p.protocol == 58;
      break;
    default: break;
  }
  put(out, serial);
  if (checksum != 0) {
    std::string head;
    if (pseudo) {
      put(head, p.source), put(head, p.destination);
      put(head, static_cast<uint32_t>(out.size())), put(head, uint32_t{p.protocol});
    }
    patch(out, checksum, fold(sum(out, sum(head))));
  }
  return out;
}

std::string ip_of(const Packet& p, uint32_t serial) {
  const std::string payload = payload_of(p, serial);
  std::string out;
  if (p.source.is_v4()) {
    put(out, uint16_t{0x4500}), put(out, static_cast<uint16_t>(20 + payload.size()));
    put(out, static_cast<uint16_t>(serial)), put(out, uint16_t{0x4000});
    out.push_back(64), out.push_back(static_cast<char>(p.protocol));
    put(out, uint16_t{0}), put(out, p.source), put(out, p.destination);
    patch(out, 10, fold(sum(out)));
  } else {
    put(out, uint32_t{0x60000000}), put(out, static_cast<uint16_t>(payload.size()));
    out.push_back(static_cast<char>(p.protocol)), out.push_back(64);
    put(out, p.source), put(out, p.destination);
  }
  return out + payload;
}

void set(const std::string& file, const char* value) {
  std::ofstream out(file);
  out << value;
  if (!out.flush()) give_up(file.c_str());
}

const Packet& sentinel() {
  static const Packet packet{Address::v4(0xc0000201), Address::v4(0xc0000202), 17, 1, 9, 0, 0};
  return packet;
}

}  // namespace

Mac Wire::mac(int slot) {
  return *Mac::parse("02:00:00:00:01:" + std::string(slot < 0 ? "f" : "0") + std::to_string(slot < 0 ? -slot : slot));
}

Wire::Wire() {
  auto kernel = host_.kernel();
  far_.run([] { set("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"); });
  host_.run([] {
    set("/proc/sys/net/ipv4/ip_forward", "1");
    set("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    set("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
    set("/proc/sys/net/ipv4/conf/default/rp_filter", "0");
    set("/proc/sys/net/ipv4/conf/all/send_redirects", "0");
    set("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
  });
  for (int slot = -2; slot < slots; ++slot) {
    const std::string name = slot < 0 ? "x" + std::to_string(-slot) : interface(slot);
    netlink::CreateVeth veth;
    veth.name = name;
    veth.mac = *Mac::parse("02:00:00:00:02:" + std::string(slot < 0 ? "f" : "0") + std::to_string(slot < 0 ? -slot : slot));
    veth.peer_name = name;
    veth.peer_mac = mac(slot);
    veth.peer_netns_fd = far_.fd();
    host_mac_[slot] = veth.mac;
    const std::vector<netlink::Request> make{veth};
    if (!netlink::all_done(kernel->apply(make))) give_up(name.c_str());
    const int index = host_.run([&] { return static_cast<int>(::if_nametoindex(name.c_str())); });
    netlink::SetLink up{.index = index, .up = true};
    if (slot >= 0) up.group = netlink::live_group;
    const std::vector<netlink::Request> raise{up};
    if (!netlink::all_done(kernel->apply(raise))) give_up("up");
    far_index_[slot] = far_.run([&] { return static_cast<int>(::if_nametoindex(name.c_str())); });
    const auto far_kernel = far_.kernel();
    const std::vector<netlink::Request> far_up{netlink::SetLink{.index = far_index_[slot], .up = true}};
    if (!netlink::all_done(far_kernel->apply(far_up))) give_up("far end up");

    std::vector<Prefix> behind;
    if (slot >= 0) behind = {Prefix::host(v4(slot)), Prefix::host(v6(slot))};
    if (slot == -1) behind = {Prefix::any(Family::v4), Prefix::any(Family::v6)};
    if (slot == -2) behind = {Prefix::host(sentinel().destination)};
    std::vector<netlink::Request> lead;
    for (const Prefix& prefix : behind) {
      netlink::Route route;
      route.destination = prefix;
      route.oif = index;
      if (prefix.length() == 0) {
        route.gateway = prefix.family() == Family::v4 ? Address::v4(0xa9fe0101) : *Address::parse("fe80::1");
        route.onlink = true;
        lead.push_back(netlink::ReplaceNeighbour{{index, *route.gateway, mac(slot), true}});
      } else {
        lead.push_back(netlink::ReplaceNeighbour{{index, prefix.address(), mac(slot), true}});
      }
      lead.push_back(netlink::ReplaceRoute{route});
    }
    if (auto led = netlink::all_done(kernel->apply(lead)); !led) {
      std::fprintf(stderr, "%s\n", led.error().message.c_str());
      give_up("routes");
    }
  }
  far_.run([&] { socket_ = unique_fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))); });
  if (socket_.get() < 0) give_up("packet socket");
  const int room = 8 << 20;
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  const int on = 1;
  ::setsockopt(socket_.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
}

std::set<uint32_t> Wire::fire(const std::vector<Shot>& shots) {
  // One CPU handles a packet from here to the far end before the next: what has not come when the sentinel comes was dropped.
  cpu_set_t before, one;
  ::sched_getaffinity(0, sizeof before, &before);
  CPU_ZERO(&one);
  CPU_SET(::sched_getcpu(), &one);
  ::sched_setaffinity(0, sizeof one, &one);

  std::map<uint32_t, int> due;  // serial -> far end where it must come out
  const auto send = [&](const Shot& shot) {
    std::string frame(reinterpret_cast<const char*>(host_mac_[shot.slot].bytes()), 6);
    frame.append(reinterpret_cast<const char*>(shot.mac.bytes()), 6);
    put(frame, static_cast<uint16_t>(shot.packet.source.is_v4() ? ETH_P_IP : ETH_P_IPV6));
    frame += ip_of(shot.packet, shot.serial);
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = far_index_[shot.slot];
    to.sll_halen = 6;
    if (::sendto(socket_.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0) give_up("sendto");
  };
  for (const Shot& shot : shots) {
    int out = -1;
    for (int slot = 0; slot < slots; ++slot) {
      if (shot.packet.destination == v4(slot) || shot.packet.destination == v6(slot)) out = slot;
    }
    due[shot.serial] = far_index_[out];
    send(shot);
  }
  const uint32_t last = 0xfffffff0;
  send({sentinel(), -1, mac(-1), last});

  std::set<uint32_t> came;
  for (;;) {
    pollfd wait{socket_.get(), POLLIN, 0};
    if (::poll(&wait, 1, 5000) <= 0) give_up("the sentinel did not come");
    unsigned char buffer[2048];
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    const ssize_t got = ::recvfrom(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 18 || from.sll_pkttype == PACKET_OUTGOING) continue;
    const uint16_t type = static_cast<uint16_t>(buffer[12] << 8 | buffer[13]);
    if (type != ETH_P_IP && type != ETH_P_IPV6) continue;
    const size_t end = type == ETH_P_IP ? 14 + static_cast<size_t>(buffer[16] << 8 | buffer[17])
                                        : 54 + static_cast<size_t>(buffer[18] << 8 | buffer[19]);
    if (end > static_cast<size_t>(got) || end < 18) continue;
    uint32_t serial = 0;
    std::memcpy(&serial, buffer + end - 4, 4);
    serial = ntohl(serial);
    if (serial == last) break;
    const auto it = due.find(serial);
    if (it != due.end() && it->second == from.sll_ifindex) came.insert(serial);
  }
  ::sched_setaffinity(0, sizeof before, &before);
  return came;
}

void Wire::forget_connections() {
  host_.run([] {
    struct {
      nlmsghdr head;
      nfgenmsg body;
    } request{};
    request.head.nlmsg_len = sizeof request;
    request.head.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
    request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    const unique_fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
    if (::send(socket.get(), &request, sizeof request, 0) < 0) give_up("conntrack");
    char reply[256];
    if (::recv(socket.get(), reply, sizeof reply, 0) < 0) give_up("conntrack");
    nlmsgerr error{};
    std::memcpy(&error, reply + NLMSG_HDRLEN, sizeof error);
    if (error.error != 0) {
      errno = -error.error;
      give_up("conntrack");
    }
  });
}

}  // namespace firn::test
