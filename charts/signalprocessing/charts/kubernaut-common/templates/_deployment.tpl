{{/*
The Deployment. With leader election, pods of both versions may overlap: the old one hands over its Lease. Without it,
the old pod must be gone before the new one acts, hence `Recreate`.
*/}}
{{- define "kubernaut.deployment" -}}
{{- include "kubernaut.validate" . -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{- $name := include "kubernaut.fullname" . -}}
{{- $controller := $component.config.controller -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "kubernaut.metadata" (dict "root" . "name" $name) | nindent 2 }}
spec:
  replicas: {{ .Values.replicas }}
  revisionHistoryLimit: {{ .Values.revisionHistoryLimit }}
  selector:
    matchLabels:
      {{- include "kubernaut.selectorLabels" . | nindent 6 }}
  strategy:
    {{- if $controller.leaderElection }}
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
    {{- else }}
    type: Recreate
    {{- end }}
  template:
    metadata:
      labels:
        {{- include "kubernaut.podLabels" . | nindent 8 }}
        {{- with .Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ $component.container | quote }}
        # Of the config file alone: the other files that are mounted are followed while the program runs.
        checksum/config: {{ toYaml $component.config | sha256sum | quote }}
        {{- with .Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
      {{- include "kubernaut.podBasics" . | nindent 6 }}
      {{- with .Values.priorityClassName }}
      priorityClassName: {{ . | quote }}
      {{- end }}
      terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
      affinity:
        {{- with .Values.affinity }}
        {{- toYaml . | nindent 8 }}
        {{- else }}
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels:
                    {{- include "kubernaut.selectorLabels" . | nindent 20 }}
        {{- end }}
      {{- with .Values.topologySpreadConstraints }}
      topologySpreadConstraints:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ $component.container | quote }}
          {{- include "kubernaut.containerBasics" . | nindent 10 }}
          args:
            - --config
            - "{{ $component.configDir }}/{{ $component.configFile }}"
          env:
            {{- include "kubernaut.env" . | nindent 12 }}
          {{- $metrics := include "kubernaut.metricsPort" . }}
          {{- $health := include "kubernaut.healthPort" . }}
          {{- if or $metrics $health }}
          ports:
            {{- with $metrics }}
            - name: metrics
              containerPort: {{ . }}
            {{- end }}
            {{- with $health }}
            - name: health
              containerPort: {{ . }}
            {{- end }}
          {{- end }}
          {{- if $health }}
          {{- range $probe, $path := dict "livenessProbe" "/healthz" "readinessProbe" "/readyz" "startupProbe" "/healthz" }}
          {{- with index $.Values $probe }}
          {{ $probe }}:
            {{- merge (deepCopy .) (dict "httpGet" (dict "path" $path "port" "health")) | toYaml | nindent 12 }}
          {{- end }}
          {{- end }}
          {{- end }}
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
          volumeMounts:
            {{- include "kubernaut.volumeMounts" . | nindent 12 }}
      volumes:
        {{- include "kubernaut.volumes" . | nindent 8 }}
{{- end -}}

{{/* What the pods of the Deployment and of `helm test` have in common. */}}
{{- define "kubernaut.podBasics" -}}
serviceAccountName: {{ include "kubernaut.serviceAccountName" . | quote }}
enableServiceLinks: false
{{- with include "kubernaut.orGlobal" (list . "imagePullSecrets") }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with include "kubernaut.orGlobal" (list . "nodeSelector") }}
nodeSelector:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "kubernaut.orGlobal" (list . "tolerations") }}
tolerations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What their containers have in common. */}}
{{- define "kubernaut.containerBasics" -}}
image: {{ include "kubernaut.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
{{- end -}}

{{- define "kubernaut.env" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
- name: CONFIG_PATH
  value: "{{ $component.configDir }}/{{ $component.configFile }}"
{{- range $variable, $field := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" "KUBERNAUT_CONTROLLER_NAMESPACE" "metadata.namespace" }}
- name: {{ $variable | quote }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $field | quote }}
{{- end }}
{{- with $component.env }}
{{ toYaml . }}
{{- end }}
{{- if .Values.tls.caConfigMap }}
- name: TLS_CA_FILE
  value: "/etc/tls-ca/{{ .Values.tls.caKey }}"
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kubernaut.volumeMounts" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
- name: config
  mountPath: {{ $component.configDir | quote }}
  readOnly: true
{{- range $component.followed }}
- name: {{ .volume | quote }}
  mountPath: {{ .mountPath | quote }}
  readOnly: true
{{- end }}
{{- with $component.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- with include "kubernaut.auditFolder" $component }}
- name: audit
  mountPath: {{ . | quote }}
{{- end }}
{{- if .Values.tls.caConfigMap }}
- name: tls-ca
  mountPath: /etc/tls-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kubernaut.volumes" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
- name: config
  configMap:
    name: {{ include "kubernaut.configMapName" . | quote }}
{{- range $component.followed }}
- name: {{ .volume | quote }}
  configMap:
    name: {{ .existingConfigMap | default .configMap | quote }}
{{- end }}
{{- with $component.volumes }}
{{ toYaml . }}
{{- end }}
{{- if include "kubernaut.auditFolder" $component }}
- name: audit
  {{- toYaml .Values.auditVolume | nindent 2 }}
{{- end }}
{{- if .Values.tls.caConfigMap }}
- name: tls-ca
  configMap:
    name: {{ .Values.tls.caConfigMap | quote }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
`helm test`: a pod with the same image, files and nodes that checks the files and ends. It talks to nobody, so it has no
token; the ServiceAccount is the controller's because it may be what lets pods pull the image. The name is unique per
chart, and Helm replaces the pod of the last test. It goes to a node of the controller's if it can: a volume of the file
channel may be attached to one node at a time.
*/}}
{{- define "kubernaut.checkPod" -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
apiVersion: v1
kind: Pod
metadata:
  name: "{{ include "kubernaut.fullname" . }}-check"
  namespace: {{ .Release.Namespace | quote }}
  labels:
    app.kubernetes.io/name: {{ include "kubernaut.service" . | quote }}
    app.kubernetes.io/instance: {{ .Release.Name | quote }}
    app.kubernetes.io/component: check
    app.kubernetes.io/part-of: kubernaut
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  {{- include "kubernaut.podBasics" . | nindent 2 }}
  affinity:
    {{- with (.Values.affinity | default dict).nodeAffinity }}
    nodeAffinity:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    podAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "kubernaut.selectorLabels" . | nindent 16 }}
  containers:
    - name: check
      {{- include "kubernaut.containerBasics" . | nindent 6 }}
      args:
        - --check-config
        - --config
        - "{{ $component.configDir }}/{{ $component.configFile }}"
      env:
        {{- include "kubernaut.env" . | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        {{- include "kubernaut.volumeMounts" . | nindent 8 }}
  volumes:
    {{- include "kubernaut.volumes" . | nindent 4 }}
{{- end -}}
