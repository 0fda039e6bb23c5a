/* The floor under an attach: the least that any program must ask of the kernel for the same end state as firn's ADD of one
 * IPv4 address. No configuration, no allocation, no record, no error messages. Kept beside the real thing so that
 * "1.6 times the floor" means something on any machine.
 *
 * usage: floor NETNS_PATH HOST_IFNAME ADDRESS     (container interface eth0; statically linked, like firn) */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[8192];
static size_t used;
static struct nlmsghdr *message;
static int expected;

static void begin(int type, int flags, const void *head, size_t size) {
  message = (struct nlmsghdr *)(buffer + used);
  memset(message, 0, NLMSG_HDRLEN);
  message->nlmsg_type = (unsigned short)type;
  message->nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags);
  memcpy(NLMSG_DATA(message), head, size);
  used += NLMSG_SPACE(size);
  expected++;
}

static struct rtattr *put(int type, const void *data, size_t size) {
  struct rtattr *attribute = (struct rtattr *)(buffer + used);
  attribute->rta_type = (unsigned short)type;
  attribute->rta_len = (unsigned short)RTA_LENGTH(size);
  if (size > 0) memcpy(RTA_DATA(attribute), data, size);
  used += RTA_SPACE(size);
  return attribute;
}

static void end_nest(struct rtattr *nest) { nest->rta_len = (unsigned short)(buffer + used - (char *)nest); }
static void end(void) { message->nlmsg_len = (unsigned)(buffer + used - (char *)message); }

/* Sends the batch and counts the acknowledgements; -1 on the first error. */
static int flush_to(int fd) {
  if (send(fd, buffer, used, 0) < 0) return -1;
  used = 0;
  char reply[8192];
  while (expected > 0) {
    ssize_t n = recv(fd, reply, sizeof reply, 0);
    if (n <= 0) return -1;
    for (struct nlmsghdr *h = (struct nlmsghdr *)reply; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
      if (h->nlmsg_type == NLMSG_ERROR) {
        expected--;
        if (((struct nlmsgerr *)NLMSG_DATA(h))->error != 0) return -1;
      }
    }
  }
  return 0;
}

static int index_of(int fd, const char *name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return ioctl(fd, SIOCGIFINDEX, &request) == 0 ? request.ifr_ifindex : 0;
}

static void sysctl_off_ipv6(const char *name) {
  char path[96];
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (write(fd, "1", 1) != 1) _exit(3);
    close(fd);
  }
}

static void route(int oif, in_addr_t to, unsigned char bits, in_addr_t gateway, unsigned char scope) {
  struct rtmsg head = {.rtm_family = AF_INET, .rtm_dst_len = bits, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = 241,
                       .rtm_scope = scope, .rtm_type = RTN_UNICAST, .rtm_flags = gateway ? RTNH_F_ONLINK : 0};
  begin(RTM_NEWROUTE, NLM_F_CREATE, &head, sizeof head);
  if (bits > 0) put(RTA_DST, &to, 4);
  put(RTA_OIF, &oif, 4);
  if (gateway) put(RTA_GATEWAY, &gateway, 4);
  end();
}

static void neighbour(int index, in_addr_t address, const unsigned char *mac) {
  struct ndmsg head = {.ndm_family = AF_INET, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
  begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof head);
  put(NDA_DST, &address, 4);
  put(NDA_LLADDR, mac, 6);
  end();
}

static void link_up(int index, int strict_source) {
  struct ifinfomsg head = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  begin(RTM_NEWLINK, 0, &head, sizeof head);
  if (strict_source) {
    int one = 1;
    struct rtattr *families = put(IFLA_AF_SPEC | NLA_F_NESTED, NULL, 0);
    struct rtattr *inet = put(AF_INET | NLA_F_NESTED, NULL, 0);
    struct rtattr *conf = put(IFLA_INET_CONF | NLA_F_NESTED, NULL, 0);
    put(8 /* IPV4_DEVCONF_RP_FILTER */, &one, 4);
    end_nest(conf);
    end_nest(inet);
    end_nest(families);
  }
  end();
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const unsigned char host_mac[6] = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
  unsigned char mac[6] = {0x02, 0xf1, 0, 0, 0, 0};
  const in_addr_t address = inet_addr(argv[3]);
  const in_addr_t gateway = inet_addr("169.254.1.1");
  memcpy(mac + 2, &address, 4);

  int netns = open(argv[1], O_RDONLY | O_CLOEXEC);
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (netns < 0 || fd < 0) return 1;

  struct ifinfomsg head = {0};
  begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
  put(IFLA_IFNAME, argv[2], strlen(argv[2]) + 1);
  put(IFLA_ADDRESS, host_mac, 6);
  const unsigned one_queue = 1; /* a veth otherwise gets a queue a processor and uses one of them */
  put(IFLA_NUM_TX_QUEUES, &one_queue, 4);
  put(IFLA_NUM_RX_QUEUES, &one_queue, 4);
  struct rtattr *info = put(IFLA_LINKINFO | NLA_F_NESTED, NULL, 0);
  put(IFLA_INFO_KIND, "veth", 5);
  struct rtattr *data = put(IFLA_INFO_DATA | NLA_F_NESTED, NULL, 0);
  struct rtattr *peer = put(VETH_INFO_PEER | NLA_F_NESTED, &head, sizeof head);
  put(IFLA_IFNAME, "eth0", 5);
  put(IFLA_ADDRESS, mac, 6);
  put(IFLA_NUM_TX_QUEUES, &one_queue, 4);
  put(IFLA_NUM_RX_QUEUES, &one_queue, 4);
  put(IFLA_NET_NS_FD, &netns, 4);
  end_nest(peer);
  end_nest(data);
  end_nest(info);
  end();
  if (flush_to(fd) != 0) return 1;

  sysctl_off_ipv6(argv[2]);
  int index = index_of(fd, argv[2]);
  link_up(index, 1);
  route(index, address, 32, 0, RT_SCOPE_LINK);
  neighbour(index, address, mac);
  if (flush_to(fd) != 0) return 1;

  if (setns(netns, CLONE_NEWNET) != 0) return 1;
  sysctl_off_ipv6("eth0");
  int inside = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  index = index_of(inside, "eth0");
  link_up(index, 0);
  struct ifaddrmsg own = {.ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = (unsigned)index};
  begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &own, sizeof own);
  put(IFA_LOCAL, &address, 4);
  end();
  route(index, gateway, 32, 0, RT_SCOPE_LINK);
  route(index, 0, 0, gateway, RT_SCOPE_UNIVERSE);
  neighbour(index, gateway, host_mac);
  return flush_to(inside) == 0 ? 0 : 1;
}
