{{- define "kubernaut.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "kubernaut.metadata" (dict "root" . "name" (include "kubernaut.serviceAccountName" .) "annotations" .Values.serviceAccount.annotations) | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}

{{/*
A Role in the release's namespace, where all of the controller's objects live; no ClusterRole. The right to use Data
Storage is a ClusterRole of that service's own, bound here when its address is set.
*/}}
{{- define "kubernaut.rbac" -}}
{{- if .Values.rbac.create -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{- $name := include "kubernaut.fullname" . -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "kubernaut.metadata" (dict "root" . "name" $name) | nindent 2 }}
rules:
  {{- toYaml $component.rules | nindent 2 }}
---
{{ include "kubernaut.roleBinding" (dict "root" . "name" $name "kind" "Role" "role" $name) }}
{{- if and .Values.rbac.dataStorageClusterRole $component.config.datastorage }}
---
{{ include "kubernaut.roleBinding" (dict "root" . "name" (printf "%s-data-storage" $name) "kind" "ClusterRole" "role" .Values.rbac.dataStorageClusterRole) }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "kubernaut.roleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "kubernaut.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind | quote }}
  name: {{ .role | quote }}
subjects:
  - kind: ServiceAccount
    name: {{ include "kubernaut.serviceAccountName" .root | quote }}
    namespace: {{ .root.Release.Namespace | quote }}
{{- end -}}

{{/* Drains wait for one pod after the other. */}}
{{- define "kubernaut.pdb" -}}
{{- if .Values.pdb.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "kubernaut.metadata" (dict "root" . "name" (include "kubernaut.fullname" .)) | nindent 2 }}
spec:
  {{- if kindIs "invalid" .Values.pdb.minAvailable }}
  {{- if kindIs "invalid" .Values.pdb.maxUnavailable }}
  {{- fail "cannot create a PodDisruptionBudget without pdb.maxUnavailable and pdb.minAvailable: set one of them, or pdb.enabled=false" }}
  {{- end }}
  maxUnavailable: {{ .Values.pdb.maxUnavailable }}
  {{- else }}
  minAvailable: {{ .Values.pdb.minAvailable }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "kubernaut.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end -}}
