// A snapshot of numbers for a scrape: counted when it is asked for, and costing nothing otherwise.
#pragma once

#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <map>
#include <string>
#include <vector>

namespace atelier::rpc {

// Made in a prometheus::Collectable's Collect. Not thread-safe.
class Gauges {
 public:
  void Set(const std::string& name, const std::string& help, double value,
           const std::map<std::string, std::string>& labels = {}) {
    prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels).Set(value);
  }
  std::vector<prometheus::MetricFamily> Collect() const { return registry_.Collect(); }

 private:
  prometheus::Registry registry_;
};

}  // namespace atelier::rpc
