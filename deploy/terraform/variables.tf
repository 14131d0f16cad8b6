variable "project" {
  description = "Where everything lies."
  type        = string
}

variable "region" {
  type    = string
  default = "us-central1"
}

variable "name" {
  description = "Of the function and, with -build and -warm, of its accounts."
  type        = string
  default     = "clip-embeddings"
}

variable "package" {
  description = "The zip file of build/function."
  type        = string
  default     = "../../build/function.zip"
}

variable "model" {
  type    = string
  default = "clip"
}

variable "memory" {
  description = "By model: the table of sizes in docs/deployment.md."
  type        = string
  default     = "2Gi"
}

variable "cpu" {
  type    = string
  default = "2"
}

variable "concurrency" {
  type    = number
  default = 16
}

variable "max_instances" {
  type    = number
  default = 10
}

variable "callers" {
  description = "Who may call, such as user:you@example.com; allUsers opens it."
  type        = list(string)
  default     = []
}

variable "notification_channels" {
  description = "Ids of the channels that alerts go to."
  type        = list(string)
  default     = []
}
