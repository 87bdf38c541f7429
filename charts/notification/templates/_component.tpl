{{/* What the library's templates need to know of the Notification controller. */}}
{{- define "notification.component" -}}
{{- $config := include "notification.config" . | fromYaml -}}
{{- $output := include "notification.outputFolder" $config -}}
container: manager
podLabels:
  control-plane: controller-manager
configDir: /etc/notification
configFile: config.yaml
configMapName: "{{ include "kubernaut.fullname" . }}-config"
config:
  {{- toYaml $config | nindent 2 }}
followed:
  - volume: routing
    mountPath: /etc/notification-routing
    key: routing.yaml
    configMap: {{ printf "%s-routing-config" (include "kubernaut.base" .) | quote }}
    existingConfigMap: {{ .Values.routing.existingConfigMap | quote }}
    content: {{ include "notification.routing" . | toJson }}
env:
  - name: ROUTING_CONFIG_PATH
    value: /etc/notification-routing/routing.yaml
volumeMounts:
  - name: credentials
    mountPath: {{ (($config.delivery | default dict).credentials | default dict).dir | default "/etc/notification/credentials" | quote }}
    readOnly: true
  {{- with $output }}
  - name: output
    mountPath: {{ . | quote }}
  {{- end }}
volumes:
  - name: credentials
    {{- include "notification.credentials" . | nindent 4 }}
  {{- if $output }}
  - name: output
    {{- toYaml (.Values.fileVolume | default (dict "emptyDir" dict)) | nindent 4 }}
  {{- end }}
crds:
  - kubernaut.ai_notificationrequests.yaml
notes:
  worksOn: NotificationRequests
  files: routing and credentials
  lines:
    - word: routing
      text: {{ include "notification.routingSource" . | quote }}
egress:
  {{- include "kubernaut.egress" .Values.networkPolicy.externalWebhooks | nindent 2 }}
  {{- include "kubernaut.egress" .Values.networkPolicy.smtp | nindent 2 }}
{{- end -}}

{{- define "notification.config" -}}
{{- $own := dict "delivery" (dict "credentials" (dict "dir" "/etc/notification/credentials")) -}}
{{- include "kubernaut.config" (dict "root" . "sections" (list "controller" "delivery" "logging" "audit") "own" $own) -}}
{{- end -}}

{{- define "notification.outputFolder" -}}
{{- with ((.delivery | default dict).file | default dict).outputDir -}}
{{ clean . }}
{{- end -}}
{{- end -}}

{{/* The one reserved credential: that of the `slack` values. */}}
{{- define "notification.slackCredential" -}}
slack-webhook
{{- end -}}

{{/* The folder of credentials: a projected volume with one file per Secret, or an empty one. */}}
{{- define "notification.credentials" -}}
{{- $all := .Values.credentials -}}
{{- if .Values.slack.secretName -}}
{{- $slack := dict "name" (include "notification.slackCredential" .) "secretName" .Values.slack.secretName "secretKey" .Values.slack.secretKey -}}
{{- $all = prepend $all $slack -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $all -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "cannot mount credentials: %q is named twice in credentials (%q is that of slack.secretName); give each a name of its own" .name (include "notification.slackCredential" $)) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- if $all -}}
projected:
  sources:
    {{- range $all }}
    - secret:
        name: {{ .secretName | quote }}
        optional: {{ .optional | default false }}
        items:
          - key: {{ .secretKey | default "webhook-url" | quote }}
            path: {{ .name | quote }}
    {{- end }}
{{- else -}}
emptyDir: {}
{{- end -}}
{{- end -}}

{{/* Where the routing file comes from, in words. */}}
{{- define "notification.routingSource" -}}
{{- if .Values.routing.existingConfigMap -}}
ConfigMap {{ .Values.routing.existingConfigMap }}
{{- else if .Values.routing.content -}}
as given
{{- else if .Values.slack.secretName -}}
everything to Slack and the console
{{- else -}}
everything to the console, which is the pod's log
{{- end -}}
{{- end -}}

{{/* The routing file: `routing.content`, else Slack and the console, else the console. */}}
{{- define "notification.routing" -}}
{{- if .Values.routing.content -}}
{{ .Values.routing.content }}
{{- else if .Values.slack.secretName -}}
route:
  receiver: slack-and-console
receivers:
  - name: slack-and-console
    slackConfigs:
      - credentialRef: {{ include "notification.slackCredential" . | quote }}
    consoleConfigs:
      - enabled: true
{{- else -}}
route:
  receiver: default-console
receivers:
  - name: default-console
    consoleConfigs:
      - enabled: true
{{- end -}}
{{- end -}}
