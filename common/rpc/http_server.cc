#include "common/rpc/http_server.h"

#include <httplib.h>
#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <thread>

#include "absl/strings/str_cat.h"

namespace atelier::rpc {
namespace {

constexpr int kWorkers = 2;  // scrapes are rare and short
constexpr size_t kMaxBody = 4096;

class HttpServerImpl final : public HttpServer {
 public:
  HttpServerImpl() = default;
  ~HttpServerImpl() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Bind(const std::string& host, int port,
                    std::shared_ptr<prometheus::Collectable> metrics) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kWorkers); };
    server_.set_payload_max_length(kMaxBody);
    server_.set_read_timeout(5);
    server_.set_write_timeout(5);
    // httplib's default is SO_REUSEPORT: two processes would then share the port without a word.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    server_.Get("/metrics", [metrics](const httplib::Request&, httplib::Response& response) {
      response.set_content(prometheus::TextSerializer().Serialize(metrics->Collect()),
                           "text/plain; version=0.0.4");
    });
    port_ =
        port == 0 ? server_.bind_to_any_port(host) : (server_.bind_to_port(host, port) ? port : -1);
    if (port_ <= 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "HTTP port ", port, " on ", host, " is taken; choose another port to listen on"));
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    // stop() before the accept loop runs would be lost.
    while (!server_.is_running()) std::this_thread::yield();
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  httplib::Server server_;
  std::thread thread_;
  int port_ = -1;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    const std::string& host, int port, std::shared_ptr<prometheus::Collectable> metrics) {
  auto server = std::make_unique<HttpServerImpl>();
  absl::Status status = server->Bind(host, port, std::move(metrics));
  if (!status.ok()) return status;
  return server;
}

}  // namespace atelier::rpc
