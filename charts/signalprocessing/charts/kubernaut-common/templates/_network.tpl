{{/*
Default deny, with what the controller needs: in, the scraper; out, DNS, the API server, Data Storage, and what
the component adds. The API server's addresses are looked up when the release is installed or upgraded; where that
cannot be done (`helm template`) or must not (a lookup that is forbidden fails the whole release, hence
`apiServer.lookup`), any address on ports 443 and 6443 is allowed.
*/}}
{{- define "kubernaut.networkPolicy" -}}
{{- if .Values.networkPolicy.enabled -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{- $policy := .Values.networkPolicy -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "kubernaut.metadata" (dict "root" . "name" (include "kubernaut.fullname" .)) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "kubernaut.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- $scraper := ternary $policy.monitoring.namespace "" (ne (include "kubernaut.metricsPort" .) "") }}
  {{- if or $scraper $policy.extraIngress }}
  ingress:
    {{- with $scraper }}
    - from:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ . | quote }}
      ports:
        - protocol: TCP
          port: metrics
    {{- end }}
    {{- with $policy.extraIngress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- else }}
  ingress: []
  {{- end }}
  egress:
    - to:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ $policy.dns.namespace | quote }}
      ports:
        - protocol: UDP
          port: {{ $policy.dns.port }}
        - protocol: TCP
          port: {{ $policy.dns.port }}
    {{- include "kubernaut.egressToApiServer" . | nindent 4 }}
    {{- with $component.config.datastorage }}
    - to:
        {{- toYaml ($policy.dataStorage.to | default (list (dict "namespaceSelector" dict))) | nindent 8 }}
      ports:
        {{- $written := list (include "kubernaut.urlPort" .url) (include "kubernaut.urlPort" (.healthUrl | default .url)) }}
        {{- range ternary $written (list $policy.dataStorage.port) (kindIs "invalid" $policy.dataStorage.port) | uniq }}
        - protocol: TCP
          port: {{ . }}
        {{- end }}
    {{- end }}
    {{- with $component.egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $policy.extraEgress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

{{- define "kubernaut.egressToApiServer" -}}
{{- $wanted := .Values.networkPolicy.apiServer -}}
{{- $cidrs := $wanted.cidrs -}}
{{- $ports := $wanted.ports -}}
{{- if and $wanted.lookup (not $cidrs) -}}
{{- with lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" -}}
{{- range .endpoints -}}
{{- range .addresses -}}
{{- $cidrs = append $cidrs (printf "%s/%s" . (ternary "128" "32" (contains ":" .))) -}}
{{- end -}}
{{- end -}}
{{- if not $wanted.ports -}}
{{- range .ports -}}
{{- $ports = append $ports (int .port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
- {{ if $cidrs -}}
  to:
    {{- range $cidrs | uniq }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  {{ end -}}
  ports:
    {{- range $ports | default (list 443 6443) | uniq }}
    - protocol: TCP
      port: {{ . }}
    {{- end }}
{{- end -}}

{{/* The port of a URL: as written, else that of its scheme. */}}
{{- define "kubernaut.urlPort" -}}
{{- $url := urlParse . -}}
{{- $written := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $written | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* One egress rule to address ranges. Takes (dict "cidrs" (list ...) "ports" (list ...)); nothing without ports. */}}
{{- define "kubernaut.egress" -}}
{{- if and .cidrs .ports -}}
- to:
    {{- range .cidrs }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  ports:
    {{- range .ports }}
    - protocol: TCP
      port: {{ . }}
    {{- end }}
{{- end -}}
{{- end -}}
