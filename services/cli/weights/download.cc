#include "services/cli/weights/download.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "services/cli/weights/http_response.h"
#include "services/cli/weights/partial_file.h"

namespace atelier::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr long kStallBytesPerSecond = 1000;
constexpr milliseconds kProgressEvery{200};
constexpr milliseconds kLongestRetryAfter{30000};
constexpr int kMostRestarts = 2;  // of a server that keeps answering a Range with another one

// What an attempt's end asks for.
enum class Next { kDone, kRetry, kRestart, kGiveUp };
struct Ending {
  Next next = Next::kDone;
  absl::Status status;
  milliseconds retry_after{0};
};

Ending GiveUp(absl::Status status) { return {Next::kGiveUp, std::move(status)}; }
Ending Retry(const std::string& why, milliseconds after = milliseconds{0}) {
  return {Next::kRetry, absl::UnavailableError(why), after};
}

bool WorthRetrying(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

// One request. The callbacks run inside curl_easy_perform.
class Transfer {
 public:
  Transfer(const DownloadRequest& request, PartialFile& file) : request_(request), file_(file) {}
  Ending Run();

 private:
  struct EasyDeleter {
    void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  };
  struct ListDeleter {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };

  template <typename Value>
  void Set(CURLoption option, Value value) {
    curl_easy_setopt(easy_.get(), option, value);
  }
  void Configure();
  void AskForTheRest();
  static size_t OnHeader(char* data, size_t size, size_t n, void* self);
  static size_t OnBody(char* data, size_t size, size_t n, void* self);
  // Before the first byte: is this answer the one that goes on with the file?
  Ending Begin();
  Ending Consume(std::string_view bytes);
  void Report();
  Ending EndOf(CURLcode code);
  Ending EndOfStatus();

  const DownloadRequest& request_;
  PartialFile& file_;
  std::unique_ptr<CURL, EasyDeleter> easy_;
  std::unique_ptr<curl_slist, ListDeleter> headers_;
  std::array<char, CURL_ERROR_SIZE> error_{};
  ResponseHead head_;
  bool begun_ = false;
  Ending stopped_;  // by a callback
  uint64_t total_ = 0;
  uint64_t received_ = 0;  // by this request
  Clock::time_point began_ = Clock::now();
  Clock::time_point reported_{};
};

void Transfer::Configure() {
  const DownloadLimits& limits = request_.limits;
  const bool secure = absl::StartsWith(request_.url, "https://");
  Set(CURLOPT_URL, request_.url.c_str());
  Set(CURLOPT_ERRORBUFFER, error_.data());
  Set(CURLOPT_NOSIGNAL, 1L);
  Set(CURLOPT_USERAGENT, "atelier");
  Set(CURLOPT_FAILONERROR, 1L);
  Set(CURLOPT_FOLLOWLOCATION, 1L);
  Set(CURLOPT_MAXREDIRS, static_cast<long>(limits.redirects));
  Set(CURLOPT_PROTOCOLS_STR, "http,https");
  Set(CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
  Set(CURLOPT_CONNECTTIMEOUT, static_cast<long>(limits.connect.count()));
  Set(CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
  Set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(limits.stall.count()));
  Set(CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
  Set(CURLOPT_HEADERDATA, this);
  Set(CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
  Set(CURLOPT_WRITEDATA, this);
  for (const char* name : {"SSL_CERT_FILE", "CURL_CA_BUNDLE"}) {
    const char* bundle = std::getenv(name);
    if (bundle != nullptr && *bundle != '\0') Set(CURLOPT_CAINFO, bundle);
  }
}

void Transfer::AskForTheRest() {
  if (file_.size() == 0) return;
  const PartialNote& note = file_.note();
  if (note.url == request_.url && !note.validator.empty()) {
    headers_.reset(curl_slist_append(nullptr, ("If-Range: " + note.validator).c_str()));
    Set(CURLOPT_HTTPHEADER, headers_.get());
  } else if (!request_.digest_known) {
    return;  // the whole file: nothing would tell that its beginning is another one's
  }
  Set(CURLOPT_RANGE, absl::StrCat(file_.size(), "-").c_str());
}

size_t Transfer::OnHeader(char* data, size_t size, size_t n, void* self) {
  static_cast<Transfer*>(self)->head_.Add({data, size * n});
  return size * n;
}

size_t Transfer::OnBody(char* data, size_t size, size_t n, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  transfer.stopped_ = transfer.Consume({data, size * n});
  // Any other number than all of it ends the transfer.
  return transfer.stopped_.next == Next::kDone ? size * n : 0;
}

Ending Transfer::Begin() {
  begun_ = true;
  if (absl::StartsWithIgnoreCase(head_.content_type, "text/html")) {
    return GiveUp(absl::FailedPreconditionError(
        "the answer is a web page, not a file (the sign-in page of a network?)"));
  }
  curl_off_t length = -1;
  curl_easy_getinfo(easy_.get(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  if (head_.status == 206) {
    const auto range = ParseContentRange(head_.content_range);
    if (!range || range->first != file_.size()) {
      return {Next::kRestart, absl::UnavailableError("the server sent another part than asked")};
    }
    total_ = range->total.value_or(0);
  } else if (head_.status == 200) {
    if (file_.size() > 0 && request_.say) request_.say("the server begins from the start again");
    const absl::Status noted = file_.Restart({request_.url, head_.Validator()});
    if (!noted.ok()) return GiveUp(noted);
    total_ = length > 0 ? static_cast<uint64_t>(length) : 0;
  } else {
    return GiveUp(absl::FailedPreconditionError(
        absl::StrCat("unexpected answer, HTTP status ", head_.status)));
  }
  if (total_ > request_.limits.max_bytes) {
    return GiveUp(absl::ResourceExhaustedError(absl::StrCat(
        "the file has ", total_, " bytes; at most ", request_.limits.max_bytes, " are taken")));
  }
  return {};
}

Ending Transfer::Consume(std::string_view bytes) {
  if (!begun_) {
    Ending begun = Begin();
    if (begun.next != Next::kDone) return begun;
  }
  if (file_.size() + bytes.size() > request_.limits.max_bytes) {
    return GiveUp(absl::ResourceExhaustedError(
        absl::StrCat("more than ", request_.limits.max_bytes, " bytes came; the file is refused")));
  }
  const absl::Status appended = file_.Append(bytes);
  if (!appended.ok()) return GiveUp(appended);
  received_ += bytes.size();
  Report();
  return {};
}

void Transfer::Report() {
  const Clock::time_point now = Clock::now();
  if (!request_.progress || now - reported_ < kProgressEvery) return;
  reported_ = now;
  const double seconds = std::max(std::chrono::duration<double>(now - began_).count(), 1e-3);
  request_.progress({file_.size(), total_, static_cast<double>(received_) / seconds});
}

Ending Transfer::EndOfStatus() {
  const int status = head_.status;
  const std::string text = absl::StrCat("HTTP status ", status);
  if (status == 416) {
    const auto range = ParseContentRange(head_.content_range);
    if (range && range->total == file_.size()) return {};  // it was complete already
    return {Next::kRestart, absl::UnavailableError("the server has no such part")};
  }
  if (status == 404 || status == 410) return GiveUp(absl::NotFoundError(text));
  if (status == 401 || status == 403 || status == 407) {
    return GiveUp(absl::PermissionDeniedError(text));
  }
  if (status == 408 || status == 429 || status >= 500) {
    curl_off_t seconds = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RETRY_AFTER, &seconds);
    const curl_off_t most = kLongestRetryAfter.count() / 1000;
    return Retry(text, std::chrono::seconds(std::min(seconds, most)));
  }
  return GiveUp(absl::FailedPreconditionError(text));
}

Ending Transfer::EndOf(CURLcode code) {
  if (stopped_.next != Next::kDone) return stopped_;
  if (code == CURLE_HTTP_RETURNED_ERROR) return EndOfStatus();
  if (code == CURLE_OK) return begun_ ? Ending{} : Begin();  // an empty file
  const std::string text = error_[0] != '\0' ? error_.data() : curl_easy_strerror(code);
  if (code == CURLE_TOO_MANY_REDIRECTS) {
    return GiveUp(absl::FailedPreconditionError(
        absl::StrCat("more than ", request_.limits.redirects, " redirects")));
  }
  return WorthRetrying(code) ? Retry(text) : GiveUp(absl::FailedPreconditionError(text));
}

Ending Transfer::Run() {
  // Once in a process, before the first handle; never undone, others may use curl too.
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (global == CURLE_OK) easy_.reset(curl_easy_init());
  if (easy_ == nullptr) return GiveUp(absl::FailedPreconditionError("libcurl does not start"));
  Configure();
  AskForTheRest();
  return EndOf(curl_easy_perform(easy_.get()));
}

milliseconds WaitBefore(const DownloadLimits& limits, int failures, milliseconds asked) {
  milliseconds wait = limits.first_wait;
  for (int i = 1; i < failures && wait < limits.longest_wait; ++i) wait *= 2;
  return std::max(std::min(wait, limits.longest_wait), asked);
}

void Pause(const DownloadRequest& request, const absl::Status& why, milliseconds wait) {
  if (request.say) {
    request.say(absl::StrFormat("%s; trying again in %.1f s", why.message(),
                                static_cast<double>(wait.count()) / 1000));
  }
  if (request.sleep) {
    request.sleep(wait);
  } else {
    std::this_thread::sleep_for(wait);
  }
}

}  // namespace

std::string ShownUrl(const std::string& url) {
  std::string shown = url.substr(0, url.find_first_of("?#"));
  const size_t host = shown.find("://");
  if (host == shown.npos) return shown;
  const size_t slash = shown.find('/', host + 3);
  const size_t at = shown.rfind('@', slash == shown.npos ? shown.npos : slash);
  if (at != shown.npos && at > host) shown.erase(host + 3, at + 1 - (host + 3));
  return shown;
}

absl::Status Download(const DownloadRequest& request) {
  ATELIER_ASSIGN_OR_RETURN(const std::unique_ptr<PartialFile> file,
                           PartialFile::Open(request.target));
  uint64_t most = file->size();
  int failures = 0;
  int restarts = 0;
  for (;;) {
    const Ending end = Transfer(request, *file).Run();
    if (end.next == Next::kDone) return file->Commit();
    if (end.next == Next::kGiveUp) return end.status;
    if (end.next == Next::kRestart) {
      if (++restarts > kMostRestarts) return end.status;
      ATELIER_RETURN_IF_ERROR(file->Restart({}));
      continue;
    }
    if (file->size() > most) failures = 0;
    most = std::max(most, file->size());
    if (++failures >= request.limits.attempts) return end.status;
    Pause(request, end.status, WaitBefore(request.limits, failures, end.retry_after));
  }
}

}  // namespace atelier::cli
