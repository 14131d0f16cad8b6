output "url" {
  description = "Where to call it."
  value       = google_cloudfunctions2_function.clip.service_config[0].uri
}
