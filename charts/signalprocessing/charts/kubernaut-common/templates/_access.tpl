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
What the controller may do is written once, in the service's `deploy/role.yaml`, whose copy is files/role.yaml: a Role
for the release's namespace, where all of the controller's objects live, and if it looks at more than them a ClusterRole,
whose name begins with the namespace so that releases in several do not meet. The right to use Data Storage is a
ClusterRole of that service's own, bound here when its address is set.
*/}}
{{- define "kubernaut.rbac" -}}
{{- if .Values.rbac.create -}}
{{- $component := include "kubernaut.component" . | fromYaml -}}
{{- $name := include "kubernaut.fullname" . -}}
{{- range $role := include "kubernaut.roles" . | fromYamlArray }}
{{- $cluster := eq $role.kind "ClusterRole" }}
{{- $arguments := dict "root" $ "cluster" $cluster "kind" $role.kind "name" (ternary (printf "%s:%s" $.Release.Namespace $name) $name $cluster) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $role.kind }}
metadata:
  {{- include "kubernaut.metadata" $arguments | nindent 2 }}
rules:
  {{- toYaml $role.rules | nindent 2 }}
---
{{ include "kubernaut.roleBinding" (set $arguments "role" $arguments.name) }}
{{- end }}
{{- if and .Values.rbac.dataStorageClusterRole $component.config.datastorage }}
---
{{ include "kubernaut.roleBinding" (dict "root" . "name" (printf "%s-data-storage" $name) "kind" "ClusterRole" "role" .Values.rbac.dataStorageClusterRole) }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The roles of files/role.yaml as this release needs them: the Lease is called as the config file says, and without leader
election there is none.
*/}}
{{- define "kubernaut.roles" -}}
{{- $text := .Files.Get "files/role.yaml" | required (printf "cannot render roles: chart %s has no files/role.yaml" .Chart.Name) -}}
{{- $controller := (include "kubernaut.component" . | fromYaml).config.controller -}}
{{- $lease := include "kubernaut.leaseName" . -}}
{{- range $document := regexSplit "(?m)^---$" $text -1 -}}
{{- $role := fromYaml $document -}}
{{- $rules := list -}}
{{- range $rule := $role.rules -}}
{{- if not (has "leases" $rule.resources) -}}
{{- $rules = append $rules $rule -}}
{{- else if $controller.leaderElection -}}
{{- $rules = append $rules (hasKey $rule "resourceNames" | ternary (merge (dict "resourceNames" (list $lease)) $rule) $rule) -}}
{{- end -}}
{{- end }}
- {{ dict "kind" $role.kind "rules" $rules | toJson }}
{{- end -}}
{{- end -}}

{{/* A RoleBinding, or with "cluster" a ClusterRoleBinding. Takes what `kubernaut.metadata` takes, "kind" and "role". */}}
{{- define "kubernaut.roleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRoleBinding" "RoleBinding" (.cluster | default false) }}
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
