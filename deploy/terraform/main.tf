# The function from a zip file, with its accounts, who may call, a scheduler that keeps it warm, and an alert.
# First: make package MODEL=clip && (cd build/function && zip -qr ../function.zip .)
# Then, here: terraform init && terraform apply -var project=my-project

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_project_service" "apis" {
  for_each           = toset(["artifactregistry", "cloudbuild", "cloudfunctions", "cloudscheduler", "run"])
  service            = "${each.value}.googleapis.com"
  disable_on_destroy = false
}

resource "google_service_account" "function" {
  account_id   = var.name
  display_name = "Runs ${var.name}; has no role"
}

resource "google_service_account" "build" {
  account_id   = "${var.name}-build"
  display_name = "Builds ${var.name}"
}

resource "google_project_iam_member" "build" {
  project = var.project
  role    = "roles/cloudbuild.builds.builder"
  member  = "serviceAccount:${google_service_account.build.email}"
}

resource "google_storage_bucket" "source" {
  name                        = "${var.project}-${var.name}-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
}

resource "google_storage_bucket_object" "source" {
  name   = "function-${filesha256(var.package)}.zip"
  bucket = google_storage_bucket.source.name
  source = var.package
}

resource "google_cloudfunctions2_function" "clip" {
  name     = var.name
  location = var.region

  build_config {
    runtime         = "python312"
    entry_point     = "embed"
    service_account = google_service_account.build.id
    environment_variables = {
      GOOGLE_PYTHON_PACKAGE_MANAGER = "pip"
      GOOGLE_CLEAR_SOURCE           = "true"
    }
    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    available_memory                 = var.memory
    available_cpu                    = var.cpu
    max_instance_request_concurrency = var.concurrency
    max_instance_count               = var.max_instances
    timeout_seconds                  = 120
    service_account_email            = google_service_account.function.email
    environment_variables = {
      CLIP_MODEL           = var.model
      CLIP_ENGINE          = "onnx"
      CLIP_NUM_THREADS     = var.cpu
      THREADS              = "64"
      LOG_LEVEL            = "INFO"
      GOOGLE_CLOUD_PROJECT = var.project
      RES_OPTIONS          = "timeout:1 attempts:1"
      HF_HUB_OFFLINE       = "1"
    }
  }

  depends_on = [google_project_service.apis, google_project_iam_member.build]
}

resource "google_cloud_run_service_iam_member" "callers" {
  for_each = toset(concat(var.callers, ["serviceAccount:${google_service_account.warm.email}"]))
  location = var.region
  service  = google_cloudfunctions2_function.clip.name
  role     = "roles/run.invoker"
  member   = each.value
}

resource "google_service_account" "warm" {
  account_id   = "${var.name}-warm"
  display_name = "Calls /health of ${var.name}"
}

resource "google_cloud_scheduler_job" "warm" {
  name             = "${var.name}-warm"
  schedule         = "*/5 * * * *"
  attempt_deadline = "30s"

  http_target {
    http_method = "GET"
    uri         = "${google_cloudfunctions2_function.clip.service_config[0].uri}/health"
    oidc_token {
      service_account_email = google_service_account.warm.email
      audience              = google_cloudfunctions2_function.clip.service_config[0].uri
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_logging_metric" "requests" {
  name             = "clip_requests"
  filter           = jsondecode(file("${path.module}/../monitoring/metrics/clip_requests.json")).filter
  label_extractors = jsondecode(file("${path.module}/../monitoring/metrics/clip_requests.json")).labelExtractors

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    labels {
      key = "route"
    }
    labels {
      key = "status"
    }
  }
}

resource "google_monitoring_alert_policy" "errors" {
  display_name          = "CLIP: requests fail"
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "more than one server error in ten seconds"
    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.requests.name}\" AND resource.type=\"cloud_run_revision\" AND metric.label.\"status\"=monitoring.regex.full_match(\"5..\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 0.1
      duration        = "300s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }
}
