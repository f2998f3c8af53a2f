// HTTP downloads (libcurl) that survive bad networks: resumed, retried, watched, bounded.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace atelier::cli {

struct DownloadLimits {
  uint64_t max_bytes = uint64_t{1} << 30;  // a longer answer is refused, announced or not
  // In a row without a new byte. One that brought some counts from the beginning again.
  int attempts = 5;
  int redirects = 5;  // never from https to http
  std::chrono::seconds connect{15};
  std::chrono::seconds stall{30};             // slower than 1 kB/s for so long: connection dropped
  std::chrono::milliseconds first_wait{250};  // doubles from one attempt to the next
  std::chrono::milliseconds longest_wait{15000};
};

struct DownloadProgress {
  uint64_t bytes = 0;  // with those of earlier attempts
  uint64_t total = 0;  // 0: unknown
  double bytes_per_second = 0;
};

struct DownloadRequest {
  std::string url;               // http or https
  std::filesystem::path target;  // the bytes so far lie in target + ".partial"
  // Go on with earlier bytes also where the server gives no validator (or another URL gave them):
  // for a file whose digest is checked afterwards.
  bool digest_known = false;
  DownloadLimits limits;
  std::function<void(const DownloadProgress&)> progress;  // a few times a second
  std::function<void(const std::string& line)> say;       // what went wrong and what is done
  std::function<void(std::chrono::milliseconds)> sleep;   // empty: this thread sleeps
};

// Leaves the whole answer at `target`. A partial file is gone on with by Range and If-Range (strong
// ETag, else Last-Modified); a server that answers with the whole file or another one begins it
// anew. Retried: lost connections, stalls, 408, 429 (its Retry-After up to 30 s) and 5xx. Proxies
// by http_proxy, https_proxy, ALL_PROXY and NO_PROXY, certificates by CURL_CA_BUNDLE or
// SSL_CERT_FILE. NotFound: 404 or 410; PermissionDenied: 401, 403, 407; ResourceExhausted: too
// large, or disk full; Unavailable: attempts used up; FailedPrecondition: everything else that
// trying again would not change. One download of a target at a time.
absl::Status Download(const DownloadRequest& request);

// Without what may be secret in it: user, password, query.
std::string ShownUrl(const std::string& url);

}  // namespace atelier::cli
