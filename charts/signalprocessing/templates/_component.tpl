{{/* What the library's templates need to know of the SignalProcessing controller. */}}
{{- define "signalprocessing.component" -}}
{{- $config := include "signalprocessing.config" . | fromYaml -}}
{{- $classifier := $config.classifier | default dict -}}
{{- $fleet := $config.fleet | default dict -}}
{{- $oauth2 := $fleet.oauth2 | default dict -}}
{{- if not (or .Values.policies.content .Values.policies.existingConfigMap) }}
refused: >-
  cannot install without a policy: give its text (--set-file policies.content=policy.rego), or the name of a ConfigMap
  that has it under the key policy.rego (policies.existingConfigMap)
{{- else if and (or $fleet.endpoint $oauth2.enabled) (not (and $oauth2.enabled $oauth2.tokenURL $oauth2.credentialsSecretRef)) }}
refused: >-
  cannot use a fleet without all of its authentication: set fleet.oauth2.enabled, tokenURL and credentialsSecretRef, or
  leave fleet.endpoint and fleet.oauth2.enabled out, since remote clusters are not read
{{- end }}
container: signalprocessing-controller
configDir: /etc/signalprocessing
configFile: config.yaml
metricsService: "{{ include "kubernaut.fullname" . }}-metrics"
config:
  {{- toYaml $config | nindent 2 }}
followed:
  - volume: policies
    mountPath: {{ $classifier.policyDir | default "/etc/signalprocessing/policies" | quote }}
    key: {{ $classifier.regoConfigMapKey | default "policy.rego" | quote }}
    configMap: {{ include "signalprocessing.policyName" . | quote }}
    existingConfigMap: {{ .Values.policies.existingConfigMap | quote }}
    content: {{ .Values.policies.content | toJson }}
  - volume: mappings
    mountPath: /etc/signalprocessing/mappings
    key: proactive-signal-mappings.yaml
    configMap: "{{ include "kubernaut.base" . }}-proactive-signal-mappings"
    existingConfigMap: {{ .Values.proactiveSignalMappings.existingConfigMap | quote }}
    content: {{ .Values.proactiveSignalMappings.content | toJson }}
env:
  - name: SIGNAL_MODE_CONFIG_PATH
    value: /etc/signalprocessing/mappings/proactive-signal-mappings.yaml
volumeMounts:
  # The engine of the policies writes its plan there.
  - name: tmp
    mountPath: /tmp
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
crds:
  - kubernaut.ai_signalprocessings.yaml
notes:
  worksOn: SignalProcessings
  files: policy and mappings
  lines:
    - word: policy
      text: {{ include "signalprocessing.source" (list .Values.policies "none") | quote }}
    - word: proactive
      text: {{ include "signalprocessing.source" (list .Values.proactiveSignalMappings "none: all signals are reactive") | quote }}
    {{- with ($config.fleet | default dict).endpoint }}
    - word: fleet
      text: "not supported: signals with a clusterID end Failed"
    {{- end }}
{{- end -}}

{{/* Where a followed file comes from, in words. Takes (list values "words for neither"). */}}
{{- define "signalprocessing.source" -}}
{{- $values := index . 0 -}}
{{- if $values.existingConfigMap -}}
ConfigMap {{ $values.existingConfigMap }}
{{- else if $values.content -}}
as given
{{- else -}}
{{ index . 1 }}
{{- end -}}
{{- end -}}

{{- define "signalprocessing.policyName" -}}
{{ include "kubernaut.base" . }}-policy
{{- end -}}

{{- define "signalprocessing.config" -}}
{{- $policy := .Values.policies.existingConfigMap | default (include "signalprocessing.policyName" .) -}}
{{- $own := dict "classifier" (dict "policyDir" "/etc/signalprocessing/policies" "regoConfigMapName" $policy) -}}
{{- include "kubernaut.config" (dict "root" . "sections" (list "controller" "enrichment" "classifier" "fleet" "logging" "audit") "own" $own) -}}
{{- end -}}
