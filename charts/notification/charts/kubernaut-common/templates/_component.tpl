{{/*
A chart of a controller describes its controller once, in a template `<service>.component` that renders this YAML; every
template of this library takes the chart's root context and asks for it.

    container: manager               name of the container
    podLabels: {}                    further labels of the Deployment and its pods
    configDir, configFile            where the config file is mounted, and its name
    configMapName, metricsService    names that are not `<service>-config` and `<service>-metrics`
    config: {}                       the content of the config file
    followed: []                     files that are followed while the program runs, each in a ConfigMap of its own that
                                     is mounted as a folder (a subPath would never change): {volume, mountPath, key,
                                     configMap (its name), content, existingConfigMap (used instead if it is set)}
    env: []                          further environment of the container
    volumes: [], volumeMounts: []    further volumes
    crds: []                         file names below files/crds
    egress: []                       further rules of its NetworkPolicy
    notes: {}                        words of the notes: {worksOn: the kind, in plural; files: what else is checked;
                                     lines: a list of {word, text}}
    refused: ""                      why these values cannot be installed, and what to do
*/}}
{{- define "kubernaut.component" -}}
{{- $service := include "kubernaut.service" . -}}
{{- $text := include (printf "%s.component" $service) . -}}
{{- $component := fromYaml $text -}}
{{- if hasKey $component "Error" -}}
{{- fail (printf "cannot render chart %s: template %s.component is not YAML: %s" .Chart.Name $service $component.Error) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* The port of an address of the config file such as ":9090"; empty when it is switched off by "0". */}}
{{- define "kubernaut.port" -}}
{{- $port := regexFind "[0-9]+$" (toString .) -}}
{{- if ne $port "0" -}}
{{ $port }}
{{- end -}}
{{- end -}}

{{- define "kubernaut.metricsPort" -}}
{{- include "kubernaut.port" ((include "kubernaut.component" . | fromYaml).config.controller.metricsAddr | default ":9090") -}}
{{- end -}}

{{- define "kubernaut.healthPort" -}}
{{- include "kubernaut.port" ((include "kubernaut.component" . | fromYaml).config.controller.healthProbeAddr | default ":8081") -}}
{{- end -}}
