{{- define "kubernaut.metricsService" -}}
{{- if and .Values.metrics.service.enabled (include "kubernaut.metricsPort" .) -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "kubernaut.metadata" (dict "root" . "name" ($component.metricsService | default (printf "%s-metrics" (include "kubernaut.base" .))) "annotations" .Values.metrics.service.annotations) | nindent 2 }}
spec:
  type: ClusterIP
  selector:
    {{- include "kubernaut.selectorLabels" . | nindent 4 }}
  ports:
    - name: metrics
      port: {{ .Values.metrics.service.port }}
      targetPort: metrics
      protocol: TCP
{{- end -}}
{{- end -}}

{{/* Both monitors name the job after the service, however it is scraped. */}}
{{- define "kubernaut.endpoint" -}}
- port: metrics
  path: /metrics
  interval: {{ .monitor.interval | quote }}
  {{- with .monitor.scrapeTimeout }}
  scrapeTimeout: {{ . | quote }}
  {{- end }}
  relabelings:
    - targetLabel: job
      replacement: {{ include "kubernaut.service" .root | quote }}
    {{- with .monitor.relabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .monitor.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Takes (list $ "a ServiceMonitor" "its value"). */}}
{{- define "kubernaut.needMetrics" -}}
{{- if not (include "kubernaut.metricsPort" (index . 0)) -}}
{{- fail (printf "cannot create %s: controller.metricsAddr=0 switches the metrics off; set an address, or %s=false" (index . 1) (index . 2)) -}}
{{- end -}}
{{- end -}}

{{- define "kubernaut.serviceMonitor" -}}
{{- with .Values.metrics.serviceMonitor -}}
{{- if .enabled -}}
{{- if not $.Values.metrics.service.enabled -}}
{{- fail "cannot create a ServiceMonitor: metrics.service.enabled=false leaves it nothing to select; set it, or metrics.podMonitor.enabled instead" -}}
{{- end -}}
{{- include "kubernaut.needMetrics" (list $ "a ServiceMonitor" "metrics.serviceMonitor.enabled") -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "kubernaut.metadata" (dict "root" $ "name" (printf "%s-monitor" (include "kubernaut.base" $)) "labels" .labels) | nindent 2 }}
spec:
  selector:
    matchLabels:
      {{- include "kubernaut.selectorLabels" $ | nindent 6 }}
  endpoints:
    {{- include "kubernaut.endpoint" (dict "root" $ "monitor" .) | nindent 4 }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kubernaut.podMonitor" -}}
{{- with .Values.metrics.podMonitor -}}
{{- if .enabled -}}
{{- include "kubernaut.needMetrics" (list $ "a PodMonitor" "metrics.podMonitor.enabled") -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  {{- include "kubernaut.metadata" (dict "root" $ "name" (printf "%s-monitor" (include "kubernaut.base" $)) "labels" .labels) | nindent 2 }}
spec:
  selector:
    matchLabels:
      {{- include "kubernaut.selectorLabels" $ | nindent 6 }}
  podMetricsEndpoints:
    {{- include "kubernaut.endpoint" (dict "root" $ "monitor" .) | nindent 4 }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The alerts of files/rules.yaml, as they stand there: their own templates are Prometheus's. */}}
{{- define "kubernaut.prometheusRule" -}}
{{- with .Values.metrics.prometheusRule -}}
{{- if .enabled -}}
{{- $rules := $.Files.Get "files/rules.yaml" | required (printf "cannot render alerts: chart %s has no files/rules.yaml" $.Chart.Name) | fromYaml -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  {{- include "kubernaut.metadata" (dict "root" $ "name" (include "kubernaut.base" $) "labels" .labels) | nindent 2 }}
spec:
  groups:
    {{- toYaml (required (printf "cannot render alerts: files/rules.yaml of chart %s has no groups" $.Chart.Name) $rules.groups) | nindent 4 }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The dashboard of files/dashboard.json, found by Grafana's sidecar through its label. */}}
{{- define "kubernaut.dashboard" -}}
{{- with .Values.metrics.dashboard -}}
{{- if .enabled -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "kubernaut.metadata" (dict "root" $ "name" (printf "%s-dashboard" (include "kubernaut.base" $)) "labels" .labels "annotations" .annotations) | nindent 2 }}
data:
  kubernaut-{{ include "kubernaut.service" $ }}.json: |
    {{- $.Files.Get "files/dashboard.json" | required (printf "cannot render the dashboard: chart %s has no files/dashboard.json" $.Chart.Name) | nindent 4 }}
{{- end -}}
{{- end -}}
{{- end -}}
