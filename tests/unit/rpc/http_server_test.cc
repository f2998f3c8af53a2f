#include "common/rpc/http_server.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include "tests/testing/status_matchers.h"

namespace atelier::rpc {
namespace {

TEST(HttpServer, ServesMetricsAndRefusesATakenPort) {
  auto metrics = std::make_shared<prometheus::Registry>();
  prometheus::BuildCounter().Name("atelier_pictures_total").Register(*metrics).Add({}).Increment(3);
  ASSERT_OK_AND_ASSIGN(auto server, HttpServer::Start("127.0.0.1", 0, metrics));
  httplib::Client client("127.0.0.1", server->port());
  const auto response = client.Get("/metrics");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 200);
  EXPECT_NE(response->body.find("atelier_pictures_total 3"), std::string::npos) << response->body;
  EXPECT_EQ(client.Get("/other")->status, 404);
  EXPECT_THAT(HttpServer::Start("127.0.0.1", server->port(), metrics),
              testing::StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace atelier::rpc
