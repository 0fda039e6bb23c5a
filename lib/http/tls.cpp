#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <cstdint>

#include "lib/http/transport.hpp"

namespace firn::http {
namespace {

struct Free {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, Free>;
using Session = std::unique_ptr<SSL, Free>;

int descriptor(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

int send_bytes(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::send(descriptor(bio), data, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int receive_bytes(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::recv(descriptor(bio), data, static_cast<size_t>(size), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

// OpenSSL's own socket layer writes in a way that raises SIGPIPE; a library must not change what a signal does.
BIO* make_bio(int fd) {
  static BIO_METHOD* const methods = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "firn socket");
    BIO_meth_set_write(made, send_bytes);
    BIO_meth_set_read(made, receive_bytes);
    BIO_meth_set_ctrl(made, control);
    return made;
  }();
  BIO* bio = BIO_new(methods);
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

std::string reason() {
  const unsigned long code = ERR_get_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return text != nullptr ? text : "it closed the connection";
}

class TlsTransport final : public Transport {
 public:
  TlsTransport(unique_fd socket, Context context, Session session)
      : socket_(std::move(socket)), context_(std::move(context)), session_(std::move(session)) {}
  ~TlsTransport() override {
    ERR_clear_error();
    SSL_shutdown(session_.get());  // says goodbye if the socket takes it; nobody waits for the answer
  }
  TlsTransport(const TlsTransport&) = delete;
  TlsTransport& operator=(const TlsTransport&) = delete;

  int fd() const override { return socket_.get(); }
  Io read(char* to, size_t size) override {
    ERR_clear_error();
    size_t bytes = 0;
    const int done = SSL_read_ex(session_.get(), to, size, &bytes);
    return result(done, bytes);
  }
  Io write(const char* from, size_t size) override {
    ERR_clear_error();
    size_t bytes = 0;
    const int done = SSL_write_ex(session_.get(), from, size, &bytes);
    return result(done, bytes);
  }
  Io handshake() {
    ERR_clear_error();
    return result(SSL_connect(session_.get()), 0);
  }
  std::string why_untrusted() const {
    const long verified = SSL_get_verify_result(session_.get());
    return verified == X509_V_OK ? "" : X509_verify_cert_error_string(verified);
  }

 private:
  Io result(int done, size_t bytes) {
    if (done > 0) return {Io::State::done, bytes, {}};
    switch (SSL_get_error(session_.get(), done)) {
      case SSL_ERROR_WANT_READ: return {Io::State::wants_read, 0, {}};
      case SSL_ERROR_WANT_WRITE: return {Io::State::wants_write, 0, {}};
      case SSL_ERROR_ZERO_RETURN: return {Io::State::ended, 0, {}};
      case SSL_ERROR_SYSCALL: return {Io::State::ended, 0, {}};
      default: break;
    }
    // An alert is the server's refusal: of our certificate, mostly, and with TLS 1.3 after the handshake.
    const int code = ERR_GET_REASON(ERR_peek_error());
    const bool alert = code >= SSL_AD_REASON_OFFSET && code < SSL_AD_REASON_OFFSET + 256;
    if (code == SSL_R_UNEXPECTED_EOF_WHILE_READING) return {Io::State::ended, 0, {}};
    return {Io::State::failed, 0, make_error(alert ? Code::denied : Code::unavailable, "TLS: " + reason())};
  }

  unique_fd socket_;
  Context context_;
  Session session_;
};

Result<Context> make_context(const Tls& tls) {
  ERR_clear_error();
  Context context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) return make_error(Code::io, "TLS does not start: " + reason());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const auto unusable = [](const std::string& file) { return make_error(Code::invalid, file + " cannot be used: " + reason()); };
  if (tls.ca_file.empty()) {
    if (SSL_CTX_set_default_verify_paths(context.get()) != 1) return unusable("the system's certificate authorities");
  } else if (SSL_CTX_load_verify_file(context.get(), tls.ca_file.c_str()) != 1) {
    return unusable(tls.ca_file);
  }
  if (tls.certificate_file.empty()) return context;
  if (SSL_CTX_use_certificate_chain_file(context.get(), tls.certificate_file.c_str()) != 1) return unusable(tls.certificate_file);
  if (SSL_CTX_use_PrivateKey_file(context.get(), tls.key_file.c_str(), SSL_FILETYPE_PEM) != 1) return unusable(tls.key_file);
  return context;
}

Status set_peer(SSL* session, const std::string& name) {
  unsigned char bytes[16];
  const bool address = ::inet_pton(AF_INET, name.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, name.c_str(), bytes) == 1;
  // What SSL_set_tlsext_host_name() stands for.
  const auto indicate = [&] {
    return SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(name.c_str())) == 1;
  };
  const bool set = address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name.c_str()) == 1
                           : SSL_set1_host(session, name.c_str()) == 1 && indicate();
  if (set) return {};
  return make_error(Code::invalid, "\"" + name + "\" cannot be the name of a TLS server: " + reason());
}

}  // namespace

Result<std::unique_ptr<Transport>> start_tls(unique_fd socket, const Endpoint& endpoint, const Tls& tls, Deadline until) {
  auto context = make_context(tls);
  if (!context) return std::move(context).error();
  Session session(SSL_new(context->get()));
  if (session == nullptr) return make_error(Code::io, "TLS does not start: " + reason());
  const std::string& name = tls.server_name.empty() ? endpoint.host : tls.server_name;
  if (auto set = set_peer(session.get(), name); !set) return std::move(set).error();
  BIO* bio = make_bio(socket.get());
  SSL_set_bio(session.get(), bio, bio);
  const int fd = socket.get();
  auto transport = std::make_unique<TlsTransport>(std::move(socket), std::move(*context), std::move(session));
  for (;;) {
    const Io io = transport->handshake();
    if (io.state == Io::State::done) return std::unique_ptr<Transport>(std::move(transport));
    if (const std::string why = transport->why_untrusted(); io.state == Io::State::failed && !why.empty()) {
      return make_error(Code::denied, "the server's certificate is not to be trusted as that of " + name + ": " + why);
    }
    if (io.state == Io::State::failed) return io.error;
    if (io.state == Io::State::ended) return make_error(Code::unavailable, "TLS: it closed the connection in the handshake");
    if (auto ready = wait_for(fd, io.state, until); !ready) return make_error(Code::unavailable, "no TLS handshake in time");
  }
}

}  // namespace firn::http
